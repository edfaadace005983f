"""Whether the account may run as many instances as the endpoint file asks for, looked up before anything is paid."""

from __future__ import annotations

from deploy.aws.api import Aws, Call, RefusedError, Say
from deploy.errors import DeployError
from deploy.specification.endpoint_file import EndpointFile


def check_quota(aws: Aws, file: EndpointFile, say: Say) -> None:
    """Compares SageMaker's quotas with the file. What other endpoints use of them is not known here.

    Raises:
        DeployError: of no instance type that the file names may as many instances run.
    """
    wanted = {name: f"{name} for endpoint usage" for name in (file.instance.type, *file.instance.fallbacks)}
    try:
        found = aws.pages(Call("service-quotas", "ListServiceQuotas", {"ServiceCode": "sagemaker"}), "Quotas")
    except RefusedError as error:
        say(f"warning: the quotas could not be read: {error}")
        return
    values = {quota["QuotaName"]: float(quota["Value"]) for quota in found}
    known = {name: values[quota] for name, quota in wanted.items() if quota in values}
    if known and len(known) == len(wanted) and max(known.values()) < file.instance.count:
        raise DeployError(
            f"instance.count={file.instance.count}: the quota {wanted[file.instance.type]!r} is"
            f" {known[file.instance.type]:g}; ask for more under Service Quotas, Amazon SageMaker"
        )
    _warn(file, known.get(file.instance.type), say)


def _warn(file: EndpointFile, quota: float | None, say: Say) -> None:
    if quota is None:
        return
    most = max(file.instance.count, file.autoscaling.max if file.autoscaling else 1)
    if quota < most:
        say(f"warning: autoscaling.max={most}: the quota for {file.instance.type} is {quota:g}")
    elif file.update.traffic != "rolling" and quota < 2 * file.instance.count:
        say(
            f"warning: the quota for {file.instance.type} is {quota:g}: an update needs {2 * file.instance.count} for a"
            ' while; update.traffic = "rolling" does with fewer'
        )
