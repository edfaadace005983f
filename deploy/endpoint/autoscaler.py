"""Autoscaling of one endpoint: set, taken away, given back."""

from __future__ import annotations

from deploy.account.aws import Aws, Call, Say
from deploy.endpoint import autoscaling
from deploy.endpoint.endpoint_file import EndpointFile


class Autoscaler:
    """The autoscaling of the endpoint that `file` describes."""

    def __init__(self, aws: Aws, file: EndpointFile, say: Say) -> None:
        self._aws = aws
        self._file = file
        self._say = say

    def scale(self) -> None:
        """Sets autoscaling to what the file says; without [autoscaling] an existing one is taken away."""
        scaling = self._file.autoscaling
        if scaling is None:
            self.unscale()
            return
        self._aws.send(autoscaling.register(self._file, scaling))
        self._aws.send(autoscaling.put_policy(self._file, scaling))
        self._say(f"autoscaling {scaling.min} to {scaling.max}, {scaling.concurrent_requests:g} requests a model")

    def unscale(self) -> list[Call]:
        """Takes autoscaling away, if there is any; the requests that give it back. The instances stay as they are."""
        targets = self._aws.pages(autoscaling.describe(self._file), "ScalableTargets")
        if not targets:
            return []
        policies = self._aws.pages(autoscaling.describe_policies(self._file), "ScalingPolicies")
        self._aws.send(autoscaling.deregister(self._file))
        self._say(f"took autoscaling of {self._file.name} away")
        return autoscaling.again(self._file, targets, policies)

    def give_back(self, calls: list[Call]) -> None:
        """Sends what `unscale` returned."""
        for call in calls:
            self._aws.send(call)
        self._say(f"gave autoscaling of {self._file.name} back")
