"""One endpoint's life: create, update, rollback. Each step is repeatable; what a failed one made is unmade."""

from __future__ import annotations

from deploy.aws.api import Answer, Aws, Call, RefusedError, Say
from deploy.endpoint import requests
from deploy.endpoint.autoscaling import Autoscaler
from deploy.endpoint.component import Component
from deploy.endpoint.failure import EndpointFailedError, failed, reason
from deploy.endpoint.plan import EndpointPlan
from deploy.endpoint.remembered import Remembered
from deploy.endpoint.undo import Undo
from deploy.endpoint.waiting import Waiter
from deploy.errors import DeployError
from deploy.specification import names
from deploy.specification.endpoint_file import EndpointFile


class Endpoint:
    """The endpoint that `file` describes."""

    def __init__(self, aws: Aws, file: EndpointFile, waiter: Waiter, say: Say) -> None:
        self._aws = aws
        self._file = file
        self._waiter = waiter
        self._say = say
        self._autoscaler = Autoscaler(aws, file, say)
        self._component = Component(aws, file, waiter, say)  # used where the file has one
        self._previous = Remembered(aws, names.endpoint_arn(file), names.PREVIOUS_TAG)

    def create(self, plan: EndpointPlan, undo: bool = True) -> None:
        """Makes model, configuration, endpoint and autoscaling, whichever is missing, and waits until it serves.

        Raises:
            DeployError: it exists with another configuration, or it failed; the sentence says why. What was made
                is unmade before, unless `undo` is false or the endpoint may still come up.
        """
        existing = self._describe(assumed=None)
        self._check_not_other(existing, plan)
        with Undo(self._aws, self._file.name, self._say, wanted=undo) as made:
            self._ensure_model(plan, made)
            self._ensure_config(plan, made)
            if existing is None:
                self._begin(requests.create_endpoint(self._file, plan.config_name), made)
                made.to_undo(self.remove_endpoint)
                self._say(f"creating endpoint {self._file.name}")
            made.in_use = True
            self._waiter.settled(self._file.name, plan.config_name, plan.ready_timeout_s)
            if plan.component:
                self._component.ensure(plan.component, plan.ready_timeout_s, made)
        self._autoscaler.scale()  # a failure here does not undo an endpoint that serves

    def update(self, plan: EndpointPlan, undo: bool = True) -> None:
        """Moves the endpoint to `plan`, blue/green, and remembers the configuration it had; a component the same way.

        Raises:
            DeployError: there is no such endpoint, or SageMaker went back to the old configuration; the new one is
                then unmade and autoscaling given back, unless `undo` is false.
        """
        current = self._serving_config()
        component = plan.component if plan.component and not self._component.is_as(plan.component) else None
        if current == plan.config_name and component is None:
            self._say(f"{self._file.name} already serves {current}; nothing to change but autoscaling")
            self._autoscaler.scale()
            return
        if current != plan.config_name:
            self._move_fleet(plan, current, undo=undo)
        if component:  # a fleet that has moved stays, come what may
            with Undo(self._aws, self._file.name, self._say, wanted=undo) as made:
                self._ensure_model(plan, made)
                self._component.move(component, plan.update_timeout_s, made)
        self._autoscaler.scale()

    def _move_fleet(self, plan: EndpointPlan, current: str, *, undo: bool) -> None:
        with Undo(self._aws, self._file.name, self._say, wanted=undo) as made:
            self._ensure_model(plan, made)
            self._ensure_config(plan, made)
            self._remember_for_rollback(current, made)
            self._free_to_move(current, _instance_types(plan.config.parameters), made)
            self._move(plan.config_name, plan.update_timeout_s, made)

    def rollback(self, timeout_s: float, to: str | None = None) -> str:
        """Moves the endpoint to the configuration it had before (or `to`) and returns that configuration's name.

        A second rollback goes forward again. An inference component goes back to its earlier model, whose name is
        returned then; the machines below it stay.

        Raises:
            DeployError: nothing to go back to, or it failed.
        """
        current = self._serving_config()
        if self._file.inference_component:
            with Undo(self._aws, self._file.name, self._say, wanted=True) as made:
                return self._component.rollback(timeout_s, to, made)
        target = to or self._previous.value(assumed=f"{self._file.name}-{'1' * 12}")
        if target is None or target == current:
            raise DeployError(f"{self._file.name} serves {current} and knows of no earlier configuration")
        found = self._aws.find(requests.describe_config(target), assumed=_assumed_config(self._file))
        if found is None:
            raise DeployError(f"the earlier configuration {target} of {self._file.name} has been deleted")
        rest = "python -m deploy autoscale sets autoscaling again"  # a second rollback would go forward
        with Undo(self._aws, self._file.name, self._say, wanted=True, rest=rest) as made:
            self._remember_for_rollback(current, made)
            scaled = self._free_to_move(current, _instance_types(found), made)
            self._move(target, timeout_s, made)
        if scaled:
            self._autoscaler.scale()
        return target

    def remove_endpoint(self) -> None:
        """Deletes the endpoint itself, where it exists, and waits until it is gone: from then on it costs nothing."""
        if self._describe(assumed={"EndpointStatus": "InService"}) is None:
            return
        self._autoscaler.unscale()
        if self._file.inference_component:
            self._component.remove()
        deletion = Call("sagemaker", "DeleteEndpoint", {"EndpointName": self._file.name})
        try:
            self._aws.find(deletion)
        except RefusedError as error:
            self._say(f"{error}; trying again when it has settled")
            self._waiter.at_rest(self._file.name)
            self._aws.find(deletion)
        self._waiter.gone(self._file.name)

    def _ensure_model(self, plan: EndpointPlan, made: Undo) -> None:
        name = {"ModelName": plan.model_name}
        if self._aws.find(Call("sagemaker", "DescribeModel", name)) is None:
            self._waiter.send_once_assumable(plan.model)
            made.to_undo(lambda: self._delete("DeleteModel", name))
            self._say(f"made model {plan.model_name}")

    def _ensure_config(self, plan: EndpointPlan, made: Undo) -> None:
        name = {"EndpointConfigName": plan.config_name}
        if self._aws.find(requests.describe_config(plan.config_name)) is None:
            self._aws.send(plan.config)
            made.to_undo(lambda: self._delete("DeleteEndpointConfig", name))
            self._say(f"made endpoint configuration {plan.config_name}")
        self._waiter.config_visible(plan.config_name)

    def _free_to_move(self, current: str, instance_types: set[str], made: Undo) -> bool:
        """SageMaker refuses another instance type under autoscaling: takes that away then, and says whether it did."""
        found = self._aws.find(requests.describe_config(current), assumed=_assumed_config(self._file))
        taken = self._autoscaler.unscale() if _instance_types(found or {}) != instance_types else []
        if taken:
            made.to_undo(lambda: self._autoscaler.give_back(taken))
        return bool(taken)

    def _begin(self, call: Call, made: Undo) -> None:
        """Sends CreateEndpoint or UpdateEndpoint.

        What was made counts as in use until the endpoint is seen not to use it: the answer may be lost, and boto3's
        second attempt is refused when the first was accepted.
        """
        made.in_use = True
        try:
            self._aws.send(call)
        except RefusedError:
            if not self._may_move_to(str(call.parameters["EndpointConfigName"])):
                made.in_use = False
                raise

    def _may_move_to(self, config: str) -> bool:
        description = self._describe(assumed=None) or {"EndpointStatus": "missing"}
        if description["EndpointStatus"] == "Creating":
            return bool(description["EndpointConfigName"] == config)
        pending = description.get("PendingDeploymentSummary", {}).get("EndpointConfigName", config)
        return bool(description["EndpointStatus"] == "Updating" and pending == config)

    def _move(self, config: str, timeout_s: float, made: Undo) -> None:
        self._begin(requests.update_endpoint(self._file, config), made)
        self._say(f"moving {self._file.name} to {config}")
        description = self._waiter.settled(self._file.name, config, timeout_s)
        if description["EndpointConfigName"] != config:
            kept = description["EndpointConfigName"]
            why = reason(description)
            raise EndpointFailedError(f"{self._file.name} went back to {kept} instead of taking {config}: {why}")

    def _describe(self, assumed: Answer | None) -> Answer | None:
        return self._aws.find(requests.describe_endpoint(self._file.name), assumed)

    def _check_not_other(self, existing: Answer | None, plan: EndpointPlan) -> None:
        if existing is None:
            return
        name, status = self._file.name, existing["EndpointStatus"]
        if status == "Failed":
            raise DeployError(
                f"{failed(name, existing)}; a failed endpoint can only be deleted: python -m deploy delete"
            )
        if existing["EndpointConfigName"] != plan.config_name:
            raise DeployError(
                f"endpoint {name} exists ({status}) with another configuration; to change it: python -m deploy update"
            )
        self._say(f"endpoint {name} exists ({status}) as the file describes it")

    def _serving_config(self) -> str:
        assumed = {"EndpointStatus": "InService", "EndpointConfigName": f"{self._file.name}-{'0' * 12}"}
        description = self._describe(assumed)
        if description is None:
            raise DeployError(f"there is no endpoint {self._file.name}; run: python -m deploy create")
        if description["EndpointStatus"] != "InService":
            raise DeployError(f"endpoint {self._file.name} is {description['EndpointStatus']}, not InService")
        return str(description["EndpointConfigName"])

    def _remember_for_rollback(self, current: str, made: Undo) -> None:
        remembered = self._previous.value(assumed=f"{self._file.name}-{'1' * 12}")
        self._previous.write(current)
        made.to_undo(lambda: self._previous.write(remembered))

    def _delete(self, operation: str, name: dict[str, str]) -> None:
        self._aws.find(Call("sagemaker", operation, name))
        self._say(f"{operation} {next(iter(name.values()))}")


def _instance_types(config: Answer) -> set[str]:
    """Of all variants of a configuration, those to fall back on included."""
    variants = config.get("ProductionVariants", [])
    pools = [pool for variant in variants for pool in variant.get("InstancePools", [])]
    return {str(each["InstanceType"]) for each in (*variants, *pools) if "InstanceType" in each}


def _assumed_config(file: EndpointFile) -> Answer:
    return {"ProductionVariants": [{"InstanceType": file.instance.type}]}
