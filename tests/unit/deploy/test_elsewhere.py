"""The Helm chart and the compose file: rendered, held against Kubernetes' own schema, and true to the server."""

from __future__ import annotations

from typing import Any

import helm_python.chart as helm
import kubernetes_validate
import pytest
import yaml

from server.config import Settings, from_env
from server.web.call.metrics import Metrics
from server.web.limits.concurrency import ConcurrencyLimit
from tests import ROOT
from tests.unit.web.fakes import Fakes

CHART = ROOT / "deploy" / "helm" / "openchatkit"
COMPOSE = ROOT / "deploy" / "compose"
KUBERNETES = "1.30"
EVERYTHING: dict[str, Any] = {
    "autoscaling": {"enabled": True},
    "ingress": {"enabled": True, "className": "nginx", "tls": [{"hosts": ["chat.example.com"], "secretName": "tls"}]},
    "podDisruptionBudget": {"enabled": True},
    "artifacts": {"claim": "models"},
    "data": {"claim": "conversations"},
    "secret": "keys",
    "networkPolicy": {"from": [{"app": "gateway"}]},
    "serviceAccount": {"annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::123456789012:role/chat"}},
    "image": {"digest": "sha256:" + "0" * 64},
}
VARIANTS = {"as it is": {}, "gpu": yaml.safe_load((CHART / "gpu.values.yaml").read_text()), "everything": EVERYTHING}


def rendered(values: dict[str, Any]) -> list[dict[str, Any]]:
    """Every object that the chart makes of these values."""
    manifests = helm.Chart.load(str(CHART)).render(values, name="chat", namespace="talk")
    texts = [text for name, text in manifests.items() if not name.endswith("NOTES.txt")]
    return [each for text in texts for each in yaml.safe_load_all(text) if each]


def of_kind(objects: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    (found,) = (each for each in objects if each["kind"] == kind)
    return found


def environment(container: dict[str, Any]) -> dict[str, str]:
    return {each["name"]: each["value"] for each in container["env"]}


@pytest.mark.parametrize("values", VARIANTS.values(), ids=VARIANTS)
def test_the_chart_is_clean_and_what_it_makes_is_what_kubernetes_takes(values: dict[str, Any]) -> None:
    report = helm.lint(str(CHART), values, strict=True)
    assert [each for each in report["messages"] if each["severity"] > 1] == []
    for each in rendered(values):
        kubernetes_validate.validate(each, KUBERNETES, strict=True)


@pytest.mark.parametrize("values", VARIANTS.values(), ids=VARIANTS)
def test_pods_keep_to_the_restricted_standard_and_set_only_settings_that_exist(values: dict[str, Any]) -> None:
    pod = of_kind(rendered(values), "Deployment")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["enableServiceLinks"] is False
    assert isinstance(from_env(environment(container)), Settings)
    assert {mount["mountPath"] for mount in container["volumeMounts"]} >= {"/tmp", "/data", "/dev/shm"}


def test_a_pod_has_the_time_to_drain_and_to_start() -> None:
    pod = of_kind(rendered({}), "Deployment")["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] > Settings().drain_timeout_s + 5
    probe = pod["containers"][0]["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] >= Settings().start_timeout_s


def test_gpus_are_asked_for_as_many_as_there_are_ranks() -> None:
    (container,) = of_kind(rendered(VARIANTS["gpu"]), "Deployment")["spec"]["template"]["spec"]["containers"]
    settings = from_env(environment(container))
    wanted = settings.tensor_parallel_degree * settings.replicas
    assert container["resources"]["limits"]["nvidia.com/gpu"] == wanted
    assert container["resources"]["requests"]["nvidia.com/gpu"] == wanted


def test_a_value_that_the_chart_does_not_know_is_refused() -> None:
    report = helm.lint(str(CHART), {"replica": 2}, strict=True)
    assert any("replica" in each["error"] for each in report["messages"] if each["severity"] == 3)


def test_pods_are_scaled_by_a_metric_that_the_server_has() -> None:
    told = Metrics(Fakes().services, ConcurrencyLimit(4)).exposition("")[0].decode()
    metric = of_kind(rendered(EVERYTHING), "HorizontalPodAutoscaler")["spec"]["metrics"][0]["pods"]["metric"]["name"]
    assert f"# TYPE {metric} gauge" in told


def test_compose_sets_only_settings_that_exist_and_locks_the_server_down() -> None:
    whole = yaml.safe_load((COMPOSE / "compose.yaml").read_text())
    server = whole["services"]["server"]
    assert from_env(server["environment"]).store == "dynamodb://openchatkit-conversations"
    assert server["read_only"] is True
    assert server["cap_drop"] == ["ALL"]
    assert server["tmpfs"] == ["/tmp"]
    gpu = yaml.safe_load((COMPOSE / "gpu.yaml").read_text())["services"]["server"]["environment"]
    assert {name.lower().removeprefix("ock_") for name in gpu} <= set(Settings.model_fields)
    for service in whole["services"].values():
        for mount in service.get("volumes", []):
            source = mount.partition(":")[0]
            assert source in whole["volumes"] or (COMPOSE / source).is_file(), mount
        assert ":" in service["image"]  # no image without a version


def test_prometheus_scrapes_the_server_where_it_listens() -> None:
    (job,) = yaml.safe_load((COMPOSE / "prometheus.yml").read_text())["scrape_configs"]
    assert job["static_configs"] == [{"targets": [f"server:{Settings().port}"]}]
