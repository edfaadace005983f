"""What packaging writes, whatever form the checkpoint has and however often it is stopped."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from server.engine.package.packager import PackageError, write_package
from server.engine.weights.sources import WeightsError
from tests.process.engine.package.package_folders import DEADLINE_S, ROOT, Packaged, job_for, tensors_of

PACKAGE = """
import sys
from pathlib import Path
from tests.process.engine.package.package_folders import job_for
from server.engine.package.packager import write_package
write_package(job_for(Path(sys.argv[1]), Path(sys.argv[2])), lambda *progress: print(*progress, flush=True))
"""


def content_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def copy_source(source: Path, folder: Path) -> Path:
    """`source` without its tensors."""
    folder.mkdir()
    for name in ("config.json", "tokenizer.json"):
        (folder / name).write_bytes((source / name).read_bytes())
    return folder


def test_a_finished_package_is_left_alone(neox: Packaged) -> None:
    times = {path: path.stat().st_mtime_ns for path in neox.folder.iterdir()}
    assert write_package(job_for(neox.source, neox.folder)) == neox.manifest
    assert {path: path.stat().st_mtime_ns for path in neox.folder.iterdir()} == times


def test_a_package_with_other_options_is_not_written_over(neox: Packaged) -> None:
    with pytest.raises(PackageError, match="holds a package with dtype='float32', wanted is 'bfloat16'"):
        write_package(job_for(neox.source, neox.folder, dtype="bfloat16"))


def test_a_package_is_not_packaged_again(neox: Packaged, tmp_path: Path) -> None:
    with pytest.raises(PackageError, match="is packaged already"):
        write_package(job_for(neox.folder, tmp_path / "out"))


def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(neox: Packaged, tmp_path: Path) -> None:
    out = tmp_path / "packaged"
    command = [sys.executable, "-c", PACKAGE, str(neox.source), str(out)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        next(line for line in run.stdout if line.startswith("rank-1"))
        run.send_signal(signal.SIGKILL)
        run.wait(DEADLINE_S)
    assert not (out / "manifest.json").exists()
    finished = (out / "rank-0.safetensors").stat().st_ino
    assert write_package(job_for(neox.source, out)) == neox.manifest
    assert (out / "rank-0.safetensors").stat().st_ino == finished
    assert content_of(out) == content_of(neox.folder)


def test_bin_files_give_the_package_of_the_same_tensors_in_safetensors(neox: Packaged, tmp_path: Path) -> None:
    source = copy_source(neox.source, tmp_path / "source")
    tensors = load_file(neox.source / "model.safetensors")
    for part, names in enumerate((list(tensors)[:10], list(tensors)[10:]), start=1):
        torch.save({name: tensors[name] for name in names}, source / f"pytorch_model-0000{part}-of-00002.bin")
    manifest = write_package(job_for(source, tmp_path / "packaged"))
    assert {name: manifest.files[name] for name in manifest.files if name.endswith(".safetensors")} == {
        name: neox.manifest.files[name] for name in neox.manifest.files if name.endswith(".safetensors")
    }
    assert manifest.golden == neox.manifest.golden


def test_a_lora_adapter_is_in_the_package_and_in_its_golden_data(gptj: Packaged, tmp_path: Path) -> None:
    layer = "transformer.h.1.mlp.fc_in"
    generator = torch.Generator().manual_seed(8)
    first, second = torch.randn(4, 128, generator=generator), torch.randn(512, 4, generator=generator)
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    key = f"base_model.model.{layer}.lora_"
    save_file({f"{key}A.weight": first, f"{key}B.weight": second}, adapter / "adapter_model.safetensors")
    (adapter / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 4, "lora_alpha": 2}))
    manifest = write_package(job_for(gptj.source, tmp_path / "packaged", adapters=(adapter,)))
    shares = tensors_of(tmp_path / "packaged")[f"{layer}.weight"]
    expected = gptj.model.get_parameter(f"{layer}.weight").data + 0.5 * second @ first
    torch.testing.assert_close(torch.cat(shares), expected)
    assert [each.source for each in manifest.adapters] == ["adapter"]
    with torch.no_grad():
        gptj.model.get_parameter(f"{layer}.weight").add_(0.5 * second @ first)
    assert manifest.golden is not None
    prompt = manifest.golden.prompts[0]
    with torch.inference_mode():
        logits = gptj.model(torch.tensor([prompt.token_ids])).logits[0, -1]
    with torch.no_grad():
        gptj.model.get_parameter(f"{layer}.weight").sub_(0.5 * second @ first)
    torch.testing.assert_close(torch.tensor(prompt.top_logits), logits[list(prompt.top_tokens)], rtol=1e-3, atol=1e-3)


def test_values_beyond_float16_are_refused_with_the_tensor_s_name(neox: Packaged, tmp_path: Path) -> None:
    source = copy_source(neox.source, tmp_path / "source")
    tensors = load_file(neox.source / "model.safetensors")
    tensors["gpt_neox.final_layer_norm.weight"][3] = 1e5
    save_file(tensors, source / "model.safetensors")
    with pytest.raises(PackageError, match=r"gpt_neox\.final_layer_norm\.weight.*100000.*--dtype bfloat16"):
        write_package(job_for(source, tmp_path / "packaged", dtype="float16"))


def test_a_degree_of_more_ranks_than_heads_is_refused(neox: Packaged, tmp_path: Path) -> None:
    from dataclasses import replace

    with pytest.raises(
        WeightsError, match="OCK_TENSOR_PARALLEL_DEGREE=9: the model's 8 attention heads do not reach for 9 ranks"
    ):
        write_package(replace(job_for(neox.source, tmp_path / "out"), degree=9))
