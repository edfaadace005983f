"""Faults of the network while SageMaker makes or moves an endpoint: nothing that it uses is unmade."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore.config import Config

from deploy.__main__ import main
from deploy.aws import api as aws
from deploy.aws.api import LiveAws
from deploy.endpoint.plan import make_plan, rollback_timeout_s
from deploy.specification.endpoint_file import read
from tests.aws.deploy.aws_account import AwsServer
from tests.aws.faulty_proxy import Fault, FaultyProxy

AWAY = [Fault.REFUSED] * 40


@pytest.fixture
def proxy(ready_account: AwsServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyProxy]:
    """Between deploy and SageMaker; boto3's own attempts, whose pauses take seconds, are one."""
    proxy = FaultyProxy(ready_account.url)
    monkeypatch.setattr(aws, "_client_config", lambda _: Config(retries={"total_max_attempts": 1}))
    monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER", proxy.url)
    yield proxy
    proxy.close()


def deploy(verb: str, endpoint_toml: Path, *more: str) -> int:
    pace = [] if verb == "status" else ["--poll-s", "0.01"]
    return main([verb, "--file", str(endpoint_toml), *pace, *more])


def change(endpoint_toml: Path, old: str = 'golden = "require"', new: str = 'golden = "off"') -> None:
    endpoint_toml.write_text(endpoint_toml.read_text().replace(old, new))


def resources(server: AwsServer, monkeypatch: pytest.MonkeyPatch) -> tuple[int, int, int]:
    """Endpoints, configurations and models there are, asked past the proxy."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER", server.url)
    client = server.client("sagemaker")
    return (
        len(client.list_endpoints()["Endpoints"]),
        len(client.list_endpoint_configs()["EndpointConfigs"]),
        len(client.list_models()["Models"]),
    )


def test_a_blip_while_an_endpoint_is_made_is_waited_out(proxy, endpoint_toml, capsys):
    proxy.spoil("DescribeEndpoint", None, None, *AWAY[:3], Fault.BROKEN, Fault.BROKEN)
    assert deploy("create", endpoint_toml) == 0
    said = capsys.readouterr().err
    assert said.count("looking again in") == 5
    assert "talker serves" in said


def test_a_network_that_stays_away_during_create_leaves_what_sagemaker_is_making(
    proxy, ready_account, endpoint_toml, capsys, monkeypatch
):
    proxy.spoil("DescribeEndpoint", None, None, *AWAY)
    assert deploy("create", endpoint_toml) == 1
    said = capsys.readouterr().err
    assert "nothing is undone; when the endpoint has settled, the same command again does the rest" in said
    assert said.splitlines()[-1].endswith("SageMaker goes on with it, to look: python -m deploy status")
    assert resources(ready_account, monkeypatch) == (1, 1, 1)
    assert deploy("create", endpoint_toml) == 0
    assert ready_account.recorder.of("RegisterScalableTarget")


def test_a_network_that_stays_away_during_update_leaves_the_configuration_it_moves_to(
    proxy, ready_account, endpoint_toml, capsys, monkeypatch
):
    assert deploy("create", endpoint_toml) == 0
    change(endpoint_toml, "[tags]", '[instance]\ntype = "ml.g5.48xlarge"\n[tags]')
    proxy.spoil("DescribeEndpoint", None, None, *AWAY)
    assert deploy("update", endpoint_toml) == 1
    assert "to look: python -m deploy status" in capsys.readouterr().err
    assert resources(ready_account, monkeypatch) == (1, 2, 1)
    for _ in range(3):
        deploy("status", endpoint_toml)
    assert deploy("update", endpoint_toml) == 0
    assert "already serves" in capsys.readouterr().err
    scaling = ready_account.client("application-autoscaling")
    assert len(scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"]) == 1
    assert deploy("rollback", endpoint_toml) == 0


def test_a_network_that_stays_away_during_rollback_does_not_advise_a_second_one(
    proxy, ready_account, endpoint_toml, capsys, monkeypatch
):
    assert deploy("create", endpoint_toml) == 0
    change(endpoint_toml)
    assert deploy("update", endpoint_toml) == 0
    proxy.spoil("DescribeEndpoint", None, None, *AWAY)
    assert deploy("rollback", endpoint_toml) == 1
    said = capsys.readouterr().err
    assert "when the endpoint has settled, python -m deploy autoscale sets autoscaling again" in said
    assert "same command" not in said
    assert resources(ready_account, monkeypatch) == (1, 2, 2)


@pytest.mark.parametrize("verb", ["create", "update"])
def test_a_request_that_was_accepted_although_its_answer_was_lost_is_waited_for(
    proxy, ready_account, endpoint_toml, monkeypatch, verb
):
    if verb == "update":
        assert deploy("create", endpoint_toml) == 0
        change(endpoint_toml)
    monkeypatch.setattr(aws, "_client_config", lambda _: Config(retries={"total_max_attempts": 2}))
    operation = f"{verb.capitalize()}Endpoint"
    proxy.spoil(operation, Fault.LOST)
    assert deploy(verb, endpoint_toml) == 0
    assert proxy.operations.count(operation) == 2


def test_a_create_whose_every_answer_was_lost_undoes_nothing(proxy, ready_account, endpoint_toml, capsys, monkeypatch):
    proxy.spoil("CreateEndpoint", Fault.LOST)
    assert deploy("create", endpoint_toml) == 1
    assert "CreateEndpoint was not answered" in capsys.readouterr().err
    assert resources(ready_account, monkeypatch) == (1, 1, 1)


def test_a_refused_create_still_leaves_nothing(proxy, ready_account, endpoint_toml, capsys, monkeypatch):
    proxy.spoil("CreateEndpoint", Fault.DENIED)
    assert deploy("create", endpoint_toml) == 1
    assert "CreateEndpoint was refused: AccessDeniedException" in capsys.readouterr().err
    assert resources(ready_account, monkeypatch) == (0, 0, 0)


@pytest.mark.parametrize("verb", ["update", "rollback"])
def test_a_failed_move_to_another_instance_type_gives_autoscaling_back_as_it_was(ready_account, endpoint_toml, verb):
    assert deploy("create", endpoint_toml) == 0
    change(endpoint_toml, "[tags]", '[instance]\ntype = "ml.g5.48xlarge"\n[tags]')
    if verb == "rollback":
        assert deploy("update", endpoint_toml) == 0
    change(endpoint_toml, "max = 3", "max = 7")
    ready_account.fleet.outcomes.append("no capacity")
    assert deploy(verb, endpoint_toml) == 1
    scaling = ready_account.client("application-autoscaling")
    (target,) = scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"]
    assert (target["MinCapacity"], target["MaxCapacity"]) == (1, 3)
    (policy,) = scaling.describe_scaling_policies(ServiceNamespace="sagemaker")["ScalingPolicies"]
    assert policy["TargetTrackingScalingPolicyConfiguration"]["TargetValue"] == 8.0


@pytest.mark.parametrize(
    ("keys", "shift_s"),
    [
        ("", 60 + 60),
        ('traffic = "canary"\nwait_s = 600\ntermination_wait_s = 300', 2 * 600 + 300),
        ('traffic = "linear"\nstep_percent = 30\nwait_s = 600', 4 * 600 + 60),
    ],
)
def test_the_wait_for_an_update_includes_the_shift_of_traffic(ready_account, endpoint_toml, keys, shift_s):
    change(endpoint_toml, "[tags]", f"[update]\n{keys}\n[tags]")
    file = read(endpoint_toml)
    plan = make_plan(LiveAws(file.region), file, print)
    assert plan.ready_timeout_s == 600 + 600 + 1800
    assert plan.update_timeout_s == plan.ready_timeout_s + shift_s
    assert rollback_timeout_s(file) == 3600 + 3600 + 1800 + shift_s
