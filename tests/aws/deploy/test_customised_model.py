"""Bring your customised model, as deploy/README.md has it: package with an adapter, a new prefix, upload, update."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file

from deploy.__main__ import main
from tests.aws.deploy.aws_account import AwsServer
from tests.aws.deploy.small_checkpoint import write_checkpoint

LAYER = "gpt_neox.layers.0.mlp.dense_h_to_4h"


def write_base_and_adapter(folder: Path) -> torch.Tensor:
    """A base model and a LoRA adapter that PEFT saved; what PEFT's own merge makes of one weight."""
    model = write_checkpoint(folder / "base")
    adapted = get_peft_model(model, LoraConfig(r=4, lora_alpha=8, target_modules=["dense_h_to_4h"]))
    for name, parameter in adapted.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter)
    adapted.save_pretrained(folder / "adapter")
    return adapted.merge_and_unload().get_parameter(f"{LAYER}.weight").detach()


def package(folder: Path) -> int:
    models = ["--chat", str(folder / "base"), "--adapter", str(folder / "adapter")]
    degree = ["--tensor-parallel-degree", "1", "--dtype", "float32"]
    return main(["package", *models, *degree, "--out", str(folder / "mine-1")])


def test_an_adapter_is_merged_uploaded_and_served_beside_the_old_prefix(ready_account: AwsServer, endpoint_toml: Path):
    assert main(["create", "--file", str(endpoint_toml), "--poll-s", "0.01"]) == 0
    merged = write_base_and_adapter(endpoint_toml.parent)
    assert package(endpoint_toml.parent) == 0
    place = 's3 = "s3://models-of-ours/chat-mine-1/"\nfolder = "mine-1/chat"'
    text = endpoint_toml.read_text().replace('s3 = "s3://models-of-ours/chat-20b-tp4/"', place)
    endpoint_toml.write_text(text)
    assert main(["upload", "--file", str(endpoint_toml), "chat"]) == 0
    assert main(["update", "--file", str(endpoint_toml), "--poll-s", "0.01"]) == 0

    s3 = ready_account.client("s3")
    local = endpoint_toml.parent / "weights.safetensors"
    s3.download_file("models-of-ours", "chat-mine-1/rank-0.safetensors", str(local))
    s3.download_file("models-of-ours", "chat-mine-1/common.safetensors", str(local.with_name("common.safetensors")))
    tensors = load_file(local) | load_file(local.with_name("common.safetensors"))
    torch.testing.assert_close(tensors[f"{LAYER}.weight"], merged)
    manifest = json.loads(s3.get_object(Bucket="models-of-ours", Key="chat-mine-1/manifest.json")["Body"].read())
    assert [adapter["source"] for adapter in manifest["adapters"]] == ["adapter"]
    served = ready_account.recorder.of("CreateModel")[-1]["PrimaryContainer"]["ModelDataSource"]["S3DataSource"]
    assert served["S3Uri"] == "s3://models-of-ours/chat-mine-1/"
    assert s3.list_objects_v2(Bucket="models-of-ours", Prefix="chat-20b-tp4/")["KeyCount"] == 2


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"use_dora": True}, "use_dora=True is not supported; merge the adapter with PEFT first"),
        ({"bias": "all"}, "bias is 'all'; only 'none' can be merged"),
        ({"modules_to_save": ["embed_in"]}, "modules_to_save=['embed_in'] is not supported"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights='pissa' also changes the base model's weights"),
    ],
)
def test_an_adapter_that_is_more_than_plain_lora_is_refused_before_anything_is_written(
    tmp_path, capsys, options, sentence
):
    write_base_and_adapter(tmp_path)
    config = tmp_path / "adapter" / "adapter_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | options))
    assert package(tmp_path) == 1
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "mine-1" / "chat").exists()
