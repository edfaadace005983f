"""What is asked of SageMaker for an endpoint file: the model and configuration requests, complete and named."""

from __future__ import annotations

from dataclasses import dataclass

from deploy.aws.api import Aws, Call, Say
from deploy.endpoint import autoscaling, requests
from deploy.endpoint.component import create_component, update_component
from deploy.endpoint.memory_check import check_memory
from deploy.endpoint.quota import check_quota
from deploy.errors import DeployError
from deploy.image.ecr import image_address
from deploy.specification.endpoint_file import EndpointFile
from deploy.specification.environment import environment, warnings
from deploy.specification.timeouts import MOST_S, cap_warning, shift_s, transfer_timeout_s
from deploy.storage.artifact_sizes import artifact_bytes
from deploy.storage.index_version import with_pinned_index
from server.config import from_env

PROVISION_S = 1800  # how long SageMaker may take to find machines, beyond our own timeouts


@dataclass(frozen=True)
class EndpointPlan:
    """A model and a configuration, how long a fleet may take to come up with them, and requests to move to it.

    `component` makes the inference component that serves the model, where the endpoint does not.
    """

    model: Call
    config: Call
    ready_timeout_s: int
    shift_s: int
    component: Call | None = None

    @property
    def update_timeout_s(self) -> int:
        """How long an update to them may take."""
        return self.ready_timeout_s + self.shift_s

    @property
    def model_name(self) -> str:
        """The model's name."""
        return str(self.model.parameters["ModelName"])

    @property
    def config_name(self) -> str:
        """The endpoint configuration's name."""
        return str(self.config.parameters["EndpointConfigName"])


def make_plan(aws: Aws, file: EndpointFile, say: Say) -> EndpointPlan:
    """The plan for `file`. Reads ECR and S3, changes nothing.

    Raises:
        DeployError: settings the container would refuse, a missing image or artifact, another account's credentials.
    """
    environment(file, file.timeouts.startup_s or transfer_timeout_s(None))  # mistakes first, before anything is sent
    check_account(aws, file)
    check_quota(aws, file, say)
    file = with_pinned_index(aws, file, say)
    image = image_address(aws, file, say)
    num_bytes = artifact_bytes(aws, file, say)
    derived_s = transfer_timeout_s(num_bytes)
    if (cap := cap_warning(num_bytes)) and not (file.timeouts.download_s and file.timeouts.startup_s):
        say(f"warning: {cap}")
    download_s = file.timeouts.download_s or derived_s
    startup_s = file.timeouts.startup_s or derived_s
    variables = environment(file, startup_s)
    settings = from_env(variables)
    check_memory(aws, file, settings, say=say)
    for warning in warnings(file, variables):
        say(f"warning: {warning}")
    model = requests.create_model(file, image, variables)
    name = str(model.parameters["ModelName"])
    config = requests.create_endpoint_config(file, name, download_s, startup_s=startup_s)
    component = None
    if file.inference_component:
        component = create_component(file, name, download_s, startup_s=startup_s, settings=settings)
    ready_s = download_s + startup_s + (file.instance.provision_timeout_s or PROVISION_S)
    plan = EndpointPlan(model, config, ready_s, shift_s=shift_s(file.update), component=component)
    _check_all(file, plan)
    return plan


def rollback_timeout_s(file: EndpointFile) -> int:
    """How long a move to an earlier configuration may take, whose time-outs are not looked up: the longest legal."""
    return 2 * MOST_S + (file.instance.provision_timeout_s or PROVISION_S) + shift_s(file.update)


def _check_all(file: EndpointFile, plan: EndpointPlan) -> None:
    """Every request to come is well formed, so that none stops half-way for a value in the file."""
    calls = [
        plan.model,
        plan.config,
        requests.create_endpoint(file, plan.config_name),
        requests.update_endpoint(file, plan.config_name),
    ]
    if plan.component:
        copies = int(plan.component.parameters["RuntimeConfig"]["CopyCount"])
        calls += [plan.component, update_component(file, plan.component.parameters["Specification"], copies)]
    if file.autoscaling:
        calls += [autoscaling.register(file, file.autoscaling), autoscaling.put_policy(file, file.autoscaling)]
    for call in calls:
        call.check()


def check_account(aws: Aws, file: EndpointFile) -> None:
    """Raises DeployError when the credentials are for another account than the role."""
    caller = aws.send(Call("sts", "GetCallerIdentity", {}), assumed={"Account": file.account})
    if caller["Account"] != file.account:
        raise DeployError(f"the credentials are for account {caller['Account']}, role {file.role} is in another")
