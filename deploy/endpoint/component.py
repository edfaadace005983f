"""The model as an inference component: a share of an endpoint's machines, which other models' components may share.

The endpoint then has no model of its own. Its machines come first, the component is put on them, moved and taken away.
"""

from __future__ import annotations

from typing import Any

from deploy.aws.api import Answer, Aws, Call, Say
from deploy.endpoint.failure import EndpointFailedError, reason
from deploy.endpoint.remembered import Remembered
from deploy.endpoint.requests import describe_component, rolling
from deploy.endpoint.undo import Undo
from deploy.endpoint.waiting import Waiter, component_failed
from deploy.errors import DeployError
from deploy.specification import names
from deploy.specification.endpoint_file import EndpointFile, InferenceComponent
from deploy.specification.instance_types import num_gpus
from server.config import Settings

_KEPT = ("ModelName", "StartupParameters", "ComputeResourceRequirements")  # of a description, for a request


def create_component(file: EndpointFile, model: str, download_s: int, startup_s: int, settings: Settings) -> Call:
    """CreateInferenceComponent for `model`. Raises DeployError where a copy needs more GPUs than a machine has."""
    wanted = file.inference_component
    assert wanted is not None, "the caller has looked"
    parameters = {
        "InferenceComponentName": names.component_name(file),
        "EndpointName": file.name,
        "VariantName": file.variant,
        "Specification": {
            "ModelName": model,
            "StartupParameters": {
                "ModelDataDownloadTimeoutInSeconds": download_s,
                "ContainerStartupHealthCheckTimeoutInSeconds": startup_s,
            },
            "ComputeResourceRequirements": _requirements(file, wanted, settings),
        },
        "RuntimeConfig": {"CopyCount": wanted.copies},
        "Tags": names.tags(file),
    }
    return Call("sagemaker", "CreateInferenceComponent", parameters)


def _requirements(file: EndpointFile, wanted: InferenceComponent, settings: Settings) -> dict[str, Any]:
    """What a copy is given: of GPUs, where the file does not say, as many as its ranks need."""
    found: dict[str, Any] = {"MinMemoryRequiredInMb": wanted.memory_mib}
    gpus = num_gpus(file.instance.type)
    needed = wanted.accelerators or (settings.tensor_parallel_degree * settings.replicas if gpus != 0 else None)
    if needed:
        found["NumberOfAcceleratorDevicesRequired"] = needed
    if wanted.cpus:
        found["NumberOfCpuCoresRequired"] = wanted.cpus
    if gpus is not None and needed and needed > gpus:
        raise DeployError(
            f"inference_component.accelerators={needed}: a copy has one machine, and {file.instance.type} has {gpus}"
        )
    return found


def update_component(file: EndpointFile, specification: Answer, copies: int | None) -> Call:
    """UpdateInferenceComponent, batch by batch; `copies` None leaves their number to autoscaling."""
    parameters: dict[str, Any] = {
        "InferenceComponentName": names.component_name(file),
        "Specification": specification,
        "DeploymentConfig": rolling(file.update),
    }
    if copies is not None:
        parameters["RuntimeConfig"] = {"CopyCount": copies}
    return Call("sagemaker", "UpdateInferenceComponent", parameters)


class Component:
    """The inference component that `file` describes, on an endpoint that is in service."""

    def __init__(self, aws: Aws, file: EndpointFile, waiter: Waiter, say: Say) -> None:
        self._aws = aws
        self._file = file
        self._waiter = waiter
        self._say = say
        self._name = names.component_name(file)

    def ensure(self, wanted: Call, timeout_s: float, made: Undo) -> None:
        """Makes the component, where it is missing, and waits until it serves.

        Raises:
            EndpointFailedError: it does not come up.
            DeployError: it is there with another model.
        """
        found = self._aws.find(describe_component(self._file))
        if found is None:
            made.to_undo(self.remove)
            self._aws.send(wanted)
            self._say(f"made inference component {self._name}")
        elif self._differs(found, wanted):
            raise DeployError(f"{self._name} exists with another model; to change it: python -m deploy update")
        self._settled(str(wanted.parameters["Specification"]["ModelName"]), timeout_s)

    def is_as(self, wanted: Call) -> bool:
        """Whether it serves what `wanted`, a CreateInferenceComponent, describes."""
        return not self._differs(self._found(), wanted)

    def move(self, wanted: Call, timeout_s: float, made: Undo) -> None:
        """Updates the component to `wanted`, a CreateInferenceComponent, and remembers the model that it had.

        Raises:
            EndpointFailedError: SageMaker went back to the old model, or it does not serve.
        """
        copies = None if self._file.autoscaling else int(wanted.parameters["RuntimeConfig"]["CopyCount"])
        specification = wanted.parameters["Specification"]
        self._move(update_component(self._file, specification, copies), timeout_s, made)

    def rollback(self, timeout_s: float, to: str | None, made: Undo) -> str:
        """Moves the component to the model that it had before, or to model `to`; the model's name.

        Raises:
            DeployError: nothing to go back to, or it failed.
        """
        found = self._found()
        current = _model(found)
        target = to or self._remembered(found).value(assumed=f"{self._file.name}-{'1' * 12}")
        if target is None or target == current:
            raise DeployError(f"{self._name} serves {current} and knows of no earlier model")
        kept = {key: value for key, value in found["Specification"].items() if key in _KEPT}
        self._move(update_component(self._file, {**kept, "ModelName": target}, copies=None), timeout_s, made)
        return target

    def remove(self) -> None:
        """Deletes the component, where there is one, and waits until it is gone: its endpoint cannot go before."""
        if self._aws.find(describe_component(self._file)) is None:
            return
        self._aws.find(Call("sagemaker", "DeleteInferenceComponent", {"InferenceComponentName": self._name}))
        self._waiter.component_gone(self._file)

    def _move(self, update: Call, timeout_s: float, made: Undo) -> None:
        found = self._found()
        model = str(update.parameters["Specification"]["ModelName"])
        remembered = self._remembered(found)
        previous = remembered.value()
        remembered.write(_model(found))
        made.to_undo(lambda: remembered.write(previous))
        self._aws.send(update)
        made.in_use = True
        self._say(f"moving {self._name} to {model}")
        self._settled(model, timeout_s)

    def _settled(self, model: str, timeout_s: float) -> None:
        description = self._waiter.component_settled(self._file, model, timeout_s)
        if description["InferenceComponentStatus"] != "InService":
            raise component_failed(self._name, description)
        if _model(description) != model:
            kept, why = _model(description), reason(description)
            raise EndpointFailedError(f"{self._name} went back to {kept} instead of taking {model}: {why}")

    def _found(self) -> Answer:
        assumed = {
            "InferenceComponentArn": names.component_arn(self._file),
            "InferenceComponentStatus": "InService",
            "Specification": {"ModelName": f"{self._file.name}-{'0' * 12}"},
        }
        found = self._aws.find(describe_component(self._file), assumed)
        if found is None:
            raise DeployError(f"there is no inference component {self._name}; run: python -m deploy create")
        return found

    def _differs(self, found: Answer, wanted: Call) -> bool:
        has, wants = found.get("Specification", {}), wanted.parameters["Specification"]
        copies = found.get("RuntimeConfig", {}).get("DesiredCopyCount")
        is_scaled = self._file.autoscaling is not None or copies is None
        return any(has.get(key) != wants[key] for key in _KEPT) or (
            not is_scaled and copies != wanted.parameters["RuntimeConfig"]["CopyCount"]
        )

    def _remembered(self, found: Answer) -> Remembered:
        return Remembered(self._aws, found["InferenceComponentArn"], names.PREVIOUS_MODEL_TAG)


def _model(description: Answer) -> str:
    return str(description["Specification"]["ModelName"])
