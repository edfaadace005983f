"""A model sharded by DeepSpeed AutoTP on meta tensors, then filled with this rank's share of the weights.

`deepspeed.init_inference` is not used: it casts the rotary frequencies to the model's dtype, ends in `to_empty()` on
meta models, and cannot fill them from a checkpoint of several files. The steps below are what it does for AutoTP
inference, without the cast and with no rank ever holding more than its share.
"""

from __future__ import annotations

import contextlib
import io
import logging
import re
from collections.abc import Iterable
from pathlib import Path

import torch
from accelerate import init_empty_weights
from deepspeed.inference.config import DeepSpeedInferenceConfig
from deepspeed.module_inject import replace_transformer_layer
from deepspeed.module_inject.auto_tp import AutoTP
from deepspeed.module_inject.layers import set_autotp_mode
from huggingface_hub.errors import StrictDataclassError
from torch import Tensor, nn
from torch import distributed as dist
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig, PreTrainedModel

from server.engine.parallel.group import Rank
from server.engine.weights.head_geometry import HeadGeometry
from server.engine.weights.sources import (
    PackagedCheckpoint,
    PlainCheckpoint,
    WeightsError,
    WeightSource,
    cast,
    cut_of,
    former_names,
    open_weights,
)

log = logging.getLogger(__name__)

# What reading a configuration and building a model from it raise where a field is wrong.
_CONFIG_FAULTS = (OSError, ValueError, KeyError, TypeError, AttributeError, ArithmeticError, StrictDataclassError)
# Buffers that older checkpoints hold: masks, and frequencies that the model has from its configuration.
_BUFFERS = re.compile(r".*(\.(attention|attn)\.(bias|masked_bias)|\.rotary_emb\.inv_freq|\.embed_positions)")


def load_model(folder: Path, rank: Rank, dtype: torch.dtype, *, matrices_on_host: bool = False) -> PreTrainedModel:
    """The causal language model in `folder`, this rank's share of it, ready for a forward pass in evaluation mode.

    With `matrices_on_host` all matrices but embeddings stay in the host's memory: who packs them moves them.

    Raises:
        WeightsError: the folder has no usable config or weights, or there are fewer heads than ranks.
    """
    model = shard_on_meta(read_config(folder), rank)
    source = open_weights(folder, rank.rank, rank.world, tied=tied_parameters(model))
    if isinstance(source, PlainCheckpoint):
        refuse_unknown_tensors(folder, source.names, model)
    _fill(model, source, rank, dtype=dtype, matrix_device=torch.device("cpu") if matrices_on_host else rank.device)
    for module in model.modules():
        for name, buffer in module.named_buffers(recurse=False):
            module._buffers[name] = buffer.to(rank.device)
    return model.eval()


def tied_parameters(model: PreTrainedModel) -> dict[str, str]:
    """Parameters that a checkpoint may leave out, each with the one whose values it has."""
    tied = getattr(model, "_tied_weights_keys", None)
    return tied if isinstance(tied, dict) and model.config.tie_word_embeddings else {}


def read_config(folder: Path) -> PretrainedConfig:
    """The model's configuration. Raises WeightsError when it is missing or not readable."""
    try:
        return AutoConfig.from_pretrained(folder, local_files_only=True)
    except _CONFIG_FAULTS as error:
        raise WeightsError(f"{folder}: config.json is missing or not a known model ({_in_one_line(error)})") from error


def shard_on_meta(config: PretrainedConfig, rank: Rank) -> PreTrainedModel:
    """The model with this rank's parameter shapes on the meta device and its buffers real, in float32."""
    try:
        fault = HeadGeometry.of(config).fault(rank.world)
        config._attn_implementation = "eager"
        with init_empty_weights(include_buffers=False):
            model = AutoModelForCausalLM.from_config(config)
    except _CONFIG_FAULTS as error:
        raise WeightsError(
            f"{config.name_or_path}: config.json describes no model that can be built ({_in_one_line(error)})"
        ) from error
    if fault:
        raise WeightsError(f"OCK_TENSOR_PARALLEL_DEGREE={rank.world}: the model's {fault}")
    model.eval()
    if rank.world > 1:
        _apply_autotp(model, rank.world)
    return model


def refuse_unknown_tensors(folder: Path, names: Iterable[str], model: PreTrainedModel) -> None:
    """Warn of tensors that the model has no place for.

    Raises:
        WeightsError: one that belongs to a module it has, or to a layer: config.json describes another model.
    """
    known = set(model.state_dict()) | {name for name, _ in model.named_parameters(remove_duplicate=False)}
    known |= {former for name in known for former in former_names(name)}
    unused = sorted(name for name in names if name not in known and not _is_ignored(name, model))
    modules = {name for name, _ in model.named_modules() if name}
    for name in unused:
        if name.rpartition(".")[0] in modules or name.startswith(_layers(model)):
            raise WeightsError(
                f"{folder}: tensor {name!r} ({len(unused)} in all) has no place in the model that config.json "
                "describes: mend its number of layers, its biases or its model_type"
            )
        log.warning("checkpoint.tensor_left_aside folder=%s tensor=%s", folder, name)


def _is_ignored(name: str, model: PreTrainedModel) -> bool:
    patterns = model._keys_to_ignore_on_load_unexpected or ()
    return _BUFFERS.fullmatch(name) is not None or any(re.search(each, name) for each in patterns)


def _layers(model: PreTrainedModel) -> tuple[str, ...]:
    return tuple(f"{name}." for name, module in model.named_modules() if isinstance(module, nn.ModuleList))


def _in_one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


def _apply_autotp(model: PreTrainedModel, world: int) -> None:
    set_autotp_mode(training=False)
    config = DeepSpeedInferenceConfig(
        tensor_parallel={"tp_size": world}, replace_with_kernel_inject=False, keep_module_on_host=True
    )
    config.tensor_parallel.tp_group = dist.group.WORLD
    for layer_class, policy in AutoTP.tp_parser(model):
        config.injection_policy_tuple = (policy,) if isinstance(policy, str) else policy
        with contextlib.redirect_stdout(io.StringIO()):  # it prints one line per replaced layer
            replace_transformer_layer(layer_class, model, None, config, model.config, training_mode=False)


def _refuse_not_finite(name: str, share: Tensor) -> None:
    """A weight that is no number makes every answer, or those to a few questions, worthless."""
    if not share.sum(dtype=torch.float32).isfinite():  # as its terms are
        num = int((~share.isfinite()).sum())
        raise WeightsError(f"tensor {name!r} has {num} of {share.numel()} values that are not finite: it is damaged")


def _fill(model: nn.Module, source: WeightSource, rank: Rank, dtype: torch.dtype, matrix_device: torch.device) -> None:
    for name, parameter in list(model.named_parameters(remove_duplicate=False)):
        share = source.tensor(name, cut_of(parameter, rank.rank))
        if share.shape != parameter.shape:
            raise WeightsError(
                f"tensor {name!r} has shape {tuple(share.shape)}, config.json asks for {tuple(parameter.shape)}"
            )
        owner, _, leaf = name.rpartition(".")
        module = model.get_submodule(owner)
        is_matrix = parameter.dim() == 2 and not isinstance(module, nn.Embedding)
        device = matrix_device if is_matrix else rank.device
        # Matrices are packed into a layout of their own, but float32 ones; until then a packaged one stays where the
        # file is mapped. What would stay so for good would count as free memory.
        is_packed = is_matrix and device.type == "cpu" and dtype != torch.float32
        stays_mapped = is_packed and isinstance(source, PackagedCheckpoint)
        if not (stays_mapped and share.dtype == dtype):
            share = cast(share, dtype, device)
        _refuse_not_finite(name, share)
        module._parameters[leaf] = nn.Parameter(share, requires_grad=False)
