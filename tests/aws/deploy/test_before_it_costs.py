"""What create looks at before anything is made or paid, and the ways of running that the file may ask for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deploy.__main__ import main
from deploy.storage import artifact_sizes
from tests.aws.deploy.aws_account import AwsServer

QUOTA = "ml.g5.12xlarge for endpoint usage"
NEOX_20B = {"model_type": "gpt_neox", "num_hidden_layers": 44, "hidden_size": 6144, "num_attention_heads": 64}
NEOX_20B |= {"vocab_size": 50432, "intermediate_size": 24576}
GPTJ_6B = {"model_type": "gptj", "n_layer": 28, "n_embd": 4096, "n_head": 16, "n_positions": 2048, "vocab_size": 50400}
ROLE_IS_NEW = "Could not assume role arn:aws:iam::123456789012:role/openchatkit-endpoint. Please ensure that it exists"


def create(endpoint_toml: Path, *more: str) -> int:
    return main(["create", "--file", str(endpoint_toml), "--poll-s", "0.01", *more])


def change(endpoint_toml: Path, *pairs: tuple[str, str]) -> None:
    text = endpoint_toml.read_text()
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    endpoint_toml.write_text(text)


def put(server: AwsServer, key: str, content: object) -> None:
    server.client("s3").put_object(Bucket="models-of-ours", Key=key, Body=json.dumps(content).encode())


def test_a_quota_that_is_too_small_is_refused_before_anything_is_made(ready_account, endpoint_toml, capsys):
    ready_account.fleet.quotas[QUOTA] = 0
    assert create(endpoint_toml) == 1
    assert f"instance.count=1: the quota '{QUOTA}' is 0; ask for more" in capsys.readouterr().err
    assert ready_account.recorder.of("CreateModel") == []


def test_a_quota_that_an_update_or_autoscaling_will_meet_is_told(ready_account, endpoint_toml, capsys):
    ready_account.fleet.quotas[QUOTA] = 1
    assert create(endpoint_toml) == 0
    assert "warning: autoscaling.max=3: the quota for ml.g5.12xlarge is 1" in capsys.readouterr().err


def test_a_type_to_fall_back_on_makes_up_for_a_quota(ready_account, endpoint_toml, capsys):
    ready_account.fleet.quotas.update({QUOTA: 0, "ml.g6.12xlarge for endpoint usage": 4})
    change(endpoint_toml, ("[network]", '[instance]\nfallbacks = ["ml.g6.12xlarge"]\n[network]'))
    assert create(endpoint_toml) == 1  # moto knows no instance pools, and is asked for them
    assert "InstancePools" in capsys.readouterr().err
    assert create(endpoint_toml, "--dry-run") == 0
    sent = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (config,) = (call["parameters"] for call in sent if call["operation"] == "CreateEndpointConfig")
    (variant,) = config["ProductionVariants"]
    pools = [{"InstanceType": "ml.g5.12xlarge", "Priority": 1}, {"InstanceType": "ml.g6.12xlarge", "Priority": 2}]
    assert variant["InstancePools"] == pools
    assert "InstanceType" not in variant


def test_models_that_do_not_fit_are_refused_with_the_numbers_before_anything_is_made(
    ready_account, endpoint_toml, capsys
):
    put(ready_account, "chat-20b-tp4/config.json", NEOX_20B)
    put(ready_account, "moderation-6b-tp4/config.json", GPTJ_6B)
    assert create(endpoint_toml, "--dry-run") == 0
    change(endpoint_toml, ("tensor_parallel_degree = 4", "tensor_parallel_degree = 2"))
    assert create(endpoint_toml) == 1
    error = capsys.readouterr().err
    assert "instance.type='ml.g5.12xlarge': ml.g5.12xlarge has 22.5 GiB and" in error
    assert ready_account.recorder.of("CreateModel") == []


def test_models_that_fit_are_told_with_the_conversations_they_leave_room_for(ready_account, endpoint_toml, capsys):
    put(ready_account, "chat-20b-tp4/config.json", NEOX_20B)
    put(ready_account, "moderation-6b-tp4/config.json", GPTJ_6B)
    assert create(endpoint_toml) == 0
    assert "ml.g5.12xlarge: 12 full conversations of 2048 tokens fit at once" in capsys.readouterr().err


def test_of_several_versions_of_an_index_the_newest_is_pinned(ready_account, endpoint_toml, capsys):
    ready_account.client("s3").delete_object(Bucket="models-of-ours", Key="wikipedia/manifest.json")
    put(ready_account, "wikipedia/2026-01/manifest.json", {"created": "2026-01-05T00:00:00Z"})
    put(ready_account, "wikipedia/2025-12/manifest.json", {"created": "2025-12-05T00:00:00Z"})
    put(ready_account, "wikipedia/half/knn.index", {})
    assert create(endpoint_toml) == 0
    (model,) = ready_account.recorder.of("CreateModel")
    sources = {each["ChannelName"]: each for each in model["PrimaryContainer"]["AdditionalModelDataSources"]}
    assert sources["index"]["S3DataSource"]["S3Uri"] == "s3://models-of-ours/wikipedia/2026-01/"
    assert "s3://models-of-ours/wikipedia/2026-01/ is the newest version" in capsys.readouterr().err


def test_a_time_that_sagemaker_cuts_is_told_with_the_rate_that_is_needed(
    ready_account, endpoint_toml, capsys, monkeypatch
):
    monkeypatch.setattr(artifact_sizes, "_size", lambda *_, **__: 56_250_000_000)
    assert create(endpoint_toml) == 0
    assert "warning: 225 GB of artifacts: SageMaker allows 3600 s at most to copy them, so that 68 MB/s are needed" in (
        capsys.readouterr().err
    )


def test_a_role_that_sagemaker_does_not_know_yet_is_waited_for(ready_account, endpoint_toml, capsys):
    ready_account.fleet.refusals.extend([ROLE_IS_NEW, ROLE_IS_NEW])
    assert create(endpoint_toml) == 0
    assert capsys.readouterr().err.count("the role is not known everywhere yet") == 2
    assert len(ready_account.recorder.of("CreateModel")) == 3


def test_another_refusal_is_not_waited_out(ready_account, endpoint_toml):
    ready_account.fleet.refusals.append("Requested image is not found")
    assert create(endpoint_toml) == 1
    assert len(ready_account.recorder.of("CreateModel")) == 1


@pytest.mark.parametrize(
    ("table", "key"), [("instance", "volume_gb = 200"), ("encryption", 'volume_key = "alias/talker"')]
)
def test_a_volume_of_a_machine_with_disks_of_its_own_is_refused(ready_account, endpoint_toml, capsys, table, key):
    header = "[network]" if table == "instance" else "[encryption]"
    change(endpoint_toml, (header, f"[{table}]\n{key}\n" + (header if table == "instance" else "")))
    assert create(endpoint_toml) == 1
    assert "ml.g5.12xlarge has disks of its own" in capsys.readouterr().err
    assert ready_account.recorder.num_requests == 0


def test_questions_can_be_answered_through_s3(ready_account, endpoint_toml):
    answers = "s3://models-of-ours/answers/"
    change(endpoint_toml, ("[tags]", f'[asynchronous]\noutput = "{answers}"\nconcurrent_requests = 4\n[tags]'))
    assert create(endpoint_toml) == 0
    (config,) = ready_account.recorder.of("CreateEndpointConfig")
    assert config["AsyncInferenceConfig"] == {
        "OutputConfig": {"S3OutputPath": answers},
        "ClientConfig": {"MaxConcurrentInvocationsPerInstance": 4},
    }


def test_an_update_can_roll_batch_by_batch(ready_account, endpoint_toml):
    assert create(endpoint_toml) == 0
    rolling = '[update]\ntraffic = "rolling"\nstep_percent = 50\nwait_s = 0\nlimit_s = 3600\n[tags]'
    change(endpoint_toml, ("[tags]", rolling), ('golden = "require"', 'golden = "off"'))
    assert main(["update", "--file", str(endpoint_toml), "--poll-s", "0.01"]) == 0
    (update,) = ready_account.recorder.of("UpdateEndpoint")
    assert update["DeploymentConfig"] == {
        "RollingUpdatePolicy": {
            "MaximumBatchSize": {"Type": "CAPACITY_PERCENT", "Value": 50},
            "WaitIntervalInSeconds": 0,
            "MaximumExecutionTimeoutInSeconds": 3600,
        }
    }


def test_cpu_ranks_that_insist_on_shared_memory_are_refused_before_they_cost(ready_account, endpoint_toml, capsys):
    change(
        endpoint_toml,
        ("[network]", '[instance]\ntype = "ml.c5.4xlarge"\n[network]'),
        ('cuda = "12.6"', 'flavor = "cpu"'),
        ('dtype = "float16"', 'dtype = "bfloat16"\ngroup_transport = "shm"'),
    )
    assert create(endpoint_toml) == 1
    assert "4 CPU ranks need 268 MB of /dev/shm; SageMaker gives 64 MB" in capsys.readouterr().err
    assert ready_account.recorder.num_requests == 0


def test_two_groups_need_twice_the_gpus(ready_account, endpoint_toml, capsys):
    change(endpoint_toml, ("tensor_parallel_degree = 4", "tensor_parallel_degree = 4\nreplicas = 2"))
    assert create(endpoint_toml) == 1
    said = "settings.tensor_parallel_degree=4 with settings.replicas=2: ml.g5.12xlarge has 4 GPUs"
    assert said in capsys.readouterr().err
    change(endpoint_toml, ("[network]", '[instance]\ntype = "ml.g5.48xlarge"\n[network]'))
    assert create(endpoint_toml) == 0
