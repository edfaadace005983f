"""The command that runs the image here as the endpoint would: same environment, mounts, port, memory and word."""

from __future__ import annotations

from dataclasses import dataclass

from deploy.errors import DeployError
from deploy.specification.endpoint_file import Artifacts, EndpointFile, Setting
from deploy.specification.environment import PORT, SETTING_OF_ARTIFACT, container_folder, environment
from deploy.specification.instance_types import memory_gib
from deploy.specification.timeouts import transfer_timeout_s
from deploy.storage.artifact_sizes import folder_bytes

_CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL")


@dataclass(frozen=True)
class LocalOptions:
    """Where a local run differs from the endpoint."""

    image: str | None = None
    port: int = PORT
    settings: tuple[tuple[str, Setting], ...] = ()
    memory: str | None = None  # as the tool writes it, "16g"; None: the instance's
    shm_size: str | None = None  # None: the tool's default of 64 MB, as nothing can be set on SageMaker
    gpus: bool | None = None  # None: as image.flavor says
    network: str | None = None
    credentials: bool = False


def run_command(tool: str, name: str, file: EndpointFile, options: LocalOptions) -> list[str]:
    """The whole command line. Credentials are named on it, their values are not.

    Raises:
        DeployError: an artifact has no folder here, or a setting is not legal.
    """
    file = _with_settings(file, dict(options.settings))
    command = [tool, "run", "--rm", "--name", name]
    if options.network != "host":
        command += ["--publish", f"127.0.0.1:{options.port}:{PORT}"]
    command += _limits(tool, file, options)
    for variable, value in environment(file, startup_s(file)).items():
        command += ["--env", f"{variable}={value}"]
    for variable in _CREDENTIALS if options.credentials else ():
        command += ["--env", variable]
    for artifact, mount in _mounts(file).items():
        command += ["--volume", f"{mount}:{container_folder(artifact)}:ro"]
    return [*command, options.image or file.image_tag_uri, "serve"]


def local_url(options: LocalOptions) -> str:
    """Where the container answers: on the host's network it takes its own port."""
    return f"http://127.0.0.1:{PORT if options.network == 'host' else options.port}"


def startup_s(file: EndpointFile) -> int:
    """How long the container may take to answer /ping, by the size of the folders here."""
    folders = [artifact.folder for artifact in file.artifacts.present().values() if artifact.folder]
    return file.timeouts.startup_s or transfer_timeout_s(sum(folder_bytes(folder) for folder in folders))


def _with_settings(file: EndpointFile, settings: dict[str, Setting]) -> EndpointFile:
    """A setting given here takes the place of the artifact that would set it."""
    kept = {
        name: artifact
        for name, artifact in file.artifacts.present().items()
        if SETTING_OF_ARTIFACT[name] not in settings
    }
    return file.model_copy(update={"settings": {**file.settings, **settings}, "artifacts": Artifacts(**kept)})


def _limits(tool: str, file: EndpointFile, options: LocalOptions) -> list[str]:
    limits = []
    memory = memory_gib(file.instance.type)
    if options.memory or memory:
        limits += ["--memory", options.memory or f"{memory}g"]
    if options.shm_size:
        limits += ["--shm-size", options.shm_size]
    if options.gpus if options.gpus is not None else file.image.flavor == "gpu":
        limits += ["--device", "nvidia.com/gpu=all"] if tool == "podman" else ["--gpus", "all"]
    if options.network:
        limits += ["--network", options.network]
    return limits


def _mounts(file: EndpointFile) -> dict[str, str]:
    mounts = {}
    for name, artifact in file.artifacts.present().items():
        if artifact.folder is None or not artifact.folder.is_dir():
            other = f"--set {SETTING_OF_ARTIFACT[name]}=..."
            raise DeployError(f"artifacts.{name}.folder={artifact.folder}: no such folder; package it, or give {other}")
        mounts[name] = str(artifact.folder.resolve())
    return mounts
