"""LoRA adapters as PEFT saves them, merged into a checkpoint's tensors as they are read: W + scale * B A."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from server.artifacts.json_object import read_json_object
from server.engine.weights.family import FORMER_NAMES
from server.engine.weights.source_checkpoint import WholeSource, read_pickle
from server.engine.weights.sources import Cut, WeightsError

CONFIG_FILE = "adapter_config.json"
WEIGHT_FILES = ("adapter_model.safetensors", "adapter_model.bin")
# What decides the merge, and what only mattered while the adapter was trained or says where it came from.
_HONOURED = {
    *("peft_type", "r", "lora_alpha", "use_rslora", "fan_in_fan_out", "alpha_pattern", "rank_pattern"),
    *("bias", "init_lora_weights"),
}
_PLAIN_INITS = (True, False, None, "gaussian", "orthogonal", "eva")  # the others change the weights adapted, too
_HARMLESS = {
    *("auto_mapping", "base_model_name_or_path", "revision", "task_type", "inference_mode", "lora_dropout"),
    *("target_modules", "exclude_modules", "layers_to_transform", "layers_pattern", "ensure_weight_tying"),
    *("loftq_config", "eva_config", "corda_config", "lora_ga_config", "megatron_core", "peft_version"),
    *("runtime_config", "qalora_group_size"),
}
_KEY = re.compile(r"base_model\.model\.(?P<module>.+)\.lora_(?P<part>[AB])(\.default)?\.weight")
_MERGED_ROWS = 2048  # rows merged in float32 at a time


@dataclass(frozen=True)
class LoraPair:
    """What one adapter adds to one parameter: left @ right, the scale already in `right`."""

    left: Tensor  # [rows, rank], float32
    right: Tensor  # [rank, columns], float32

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the parameter it belongs to."""
        return self.left.shape[0], self.right.shape[1]

    def add_to(self, share: Tensor, cut: Cut | None) -> Tensor:
        """`share`, the part `cut` of the parameter, with the adapter's part added; in the dtype of `share`."""
        left, right = self.left, self.right
        if cut is not None and cut.dim == 0:
            left = left[cut.start : cut.stop]
        elif cut is not None:
            right = right[:, cut.start : cut.stop]
        merged = torch.empty(share.shape, dtype=share.dtype)
        for start in range(0, share.shape[0], _MERGED_ROWS):
            rows = slice(start, start + _MERGED_ROWS)
            merged[rows] = torch.addmm(share[rows].float(), left[rows], right)
        return merged


class AdaptedCheckpoint:
    """A checkpoint with adapters merged into every tensor it gives."""

    def __init__(self, base: WholeSource, adapters: Sequence[Mapping[str, LoraPair]]) -> None:
        """Raises WeightsError when an adapter is for a parameter that the checkpoint has not, or of another size."""
        self._base = base
        self._adapters = adapters
        for name, pair in (item for adapter in adapters for item in adapter.items()):
            if base.shape(name) != pair.shape:
                raise WeightsError(
                    f"the adapter's {name!r} is for shape {pair.shape}, the checkpoint's has {base.shape(name)}"
                )

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of parameter `name` as stored."""
        return self._base.shape(name)

    def tensor(self, name: str, cut: Cut | None) -> Tensor:
        """The share of parameter `name`, merged."""
        share = self._base.tensor(name, cut)
        for adapter in self._adapters:
            if name in adapter:
                share = adapter[name].add_to(share, cut)
        return share


def read_adapter(folder: Path) -> dict[str, LoraPair]:
    """The pairs of the adapter in `folder`, by the parameter they belong to.

    Raises:
        WeightsError: no adapter there, or one that is more than plain LoRA on linear layers; the sentence names what.
    """
    config = _read_config(folder)
    halves: dict[str, dict[str, Tensor]] = {}
    for key, tensor in _read_tensors(folder).items():
        match = _KEY.fullmatch(key)
        if match is None:
            raise WeightsError(f"{folder}: tensor {key!r} is not LoRA on a linear layer; only that can be merged")
        halves.setdefault(_present_name(match["module"]), {})[match["part"]] = tensor.float()
    if not halves:
        raise WeightsError(f"{folder}: the adapter holds no tensor")
    return {f"{module}.weight": _pair(folder, module, parts, config=config) for module, parts in halves.items()}


def _present_name(module: str) -> str:
    for now, former in FORMER_NAMES.items():
        module = module.replace(former, now)
    return module


def adapter_files(folder: Path) -> list[Path]:
    """The files that `read_adapter` reads in `folder`."""
    weights = [folder / name for name in WEIGHT_FILES if (folder / name).is_file()]
    return [folder / CONFIG_FILE, *weights[:1]]


def _pair(folder: Path, module: str, parts: dict[str, Tensor], config: dict[str, Any]) -> LoraPair:
    if parts.keys() != {"A", "B"} or parts["A"].shape[0] != parts["B"].shape[1]:
        raise WeightsError(f"{folder}: {module!r} needs lora_A and lora_B of the same rank")
    first, second, rank = parts["A"], parts["B"], parts["A"].shape[0]
    alpha = _by_pattern(config.get("alpha_pattern"), module, config["lora_alpha"])
    scale = alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)
    if config.get("fan_in_fan_out"):  # the layer keeps its weight as [inputs, outputs]
        return LoraPair(first.T * scale, second.T)
    return LoraPair(second, first * scale)


def _by_pattern(patterns: dict[str, float] | None, module: str, usual: float) -> float:
    for pattern, value in (patterns or {}).items():
        if re.match(rf"(.*\.)?({pattern})$", module):  # PEFT's own rule
            return value
    return usual


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG_FILE
    try:
        config = read_json_object(path)
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path}: not a readable adapter configuration ({error})") from error
    if config.get("peft_type") != "LORA":
        raise WeightsError(f"{path}: peft_type is {config.get('peft_type')!r}; only 'LORA' can be merged")
    if config.get("bias", "none") != "none":
        raise WeightsError(f"{path}: bias is {config['bias']!r}; only 'none' can be merged")
    if config.get("init_lora_weights") not in _PLAIN_INITS:
        raise WeightsError(
            f"{path}: init_lora_weights={config['init_lora_weights']!r} also changes the base model's weights"
        )
    for key in sorted(config.keys() - _HONOURED - _HARMLESS):
        if config[key]:
            raise WeightsError(f"{path}: {key}={config[key]!r} is not supported; merge the adapter with PEFT first")
    if not isinstance(config.get("lora_alpha"), int | float):
        raise WeightsError(f"{path}: lora_alpha is {config.get('lora_alpha')!r}, not a number")
    return dict(config)


def _read_tensors(folder: Path) -> dict[str, Tensor]:
    for name in WEIGHT_FILES:
        path = folder / name
        if path.is_file():
            try:
                return load_file(path) if path.suffix == ".safetensors" else read_pickle(path)
            except SafetensorError as error:
                raise WeightsError(f"{path}: not a readable safetensors file ({error})") from error
    raise WeightsError(f"{folder}: none of {', '.join(WEIGHT_FILES)} is there")
