"""How long an endpoint may take to download its models and to start, derived from their size.

seconds = 300 + 60 per GB (10^9 bytes) of all artifacts, at least 600 and at most 3600, SageMaker's limit.
That bears 17 MB/s, a rate chosen low on purpose: a timeout that is too short throws away up to an hour of paid
start-up, one that is too long only delays the news of a failure, which the supervisor reports itself before it comes
to that.
"""

from __future__ import annotations

import math

from deploy.specification.endpoint_file import Update

BASE_S = 300
SECONDS_PER_GB = 60
LEAST_S = 600
MOST_S = 3600
REPORT_MARGIN_S = 60  # the container gives up this long before SageMaker does, to say why


def transfer_timeout_s(artifact_bytes: int | None) -> int:
    """ModelDataDownloadTimeoutInSeconds and ContainerStartupHealthCheckTimeoutInSeconds; None: size not known."""
    if artifact_bytes is None:
        return MOST_S
    return min(MOST_S, max(LEAST_S, BASE_S + math.ceil(SECONDS_PER_GB * artifact_bytes / 1e9)))


def cap_warning(artifact_bytes: int | None) -> str | None:
    """What to say where SageMaker's limit cuts the time that the artifacts' size would be given."""
    if artifact_bytes is None or BASE_S + SECONDS_PER_GB * artifact_bytes / 1e9 <= MOST_S:
        return None
    rate = artifact_bytes / 1e6 / (MOST_S - BASE_S)
    return (
        f"{artifact_bytes / 1e9:.0f} GB of artifacts: SageMaker allows {MOST_S} s at most to copy them, so that"
        f" {rate:.0f} MB/s are needed; fewer or smaller artifacts would leave a margin"
    )


def start_timeout_s(startup_s: int) -> int:
    """The container's own OCK_START_TIMEOUT_S under a health-check timeout of `startup_s`."""
    return startup_s - REPORT_MARGIN_S


def shift_s(update: Update) -> int:
    """How long requests take to move to a new fleet that is in service, with the end of the old one."""
    steps = math.ceil(100 / update.step_percent)
    num_steps = {"all_at_once": 1, "canary": 2, "linear": steps, "rolling": steps}[update.traffic]
    return num_steps * update.wait_s + update.termination_wait_s
