"""The models of a group, loaded and ready to run, as the settings name them."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import distributed as dist
from transformers import PreTrainedModel

from server import wire
from server.config import Settings
from server.dtypes import DTYPES, WeightKind
from server.engine.model.kv_budget import KvShape, chat_tokens, score_tokens
from server.engine.model.linear import pack_linears
from server.engine.model.runner import ModelRunner, PoolShape, torch_dtype
from server.engine.parallel.group import Rank
from server.engine.weights.load import load_model
from server.memory import available_bytes
from server.wire import CHAT, INPUT_MODERATION, OUTPUT_MODERATION

log = logging.getLogger(__name__)

# Only full blocks of the few-shot prefix are shared; with small ones little of it is computed again for each text.
_SCORE_BLOCK_TOKENS = 4


@dataclass(frozen=True)
class GroupModel:
    """One resident model."""

    name: str
    folder: Path
    window: int
    vocab_size: int
    pool: PoolShape
    runner: ModelRunner

    @property
    def shape(self) -> wire.ModelShape:
        """What clients must know of it."""
        return wire.ModelShape(self.window, self.vocab_size, str(self.folder))


def model_folders(settings: Settings) -> dict[str, Path]:
    """The resident models by name. With one checkpoint for both moderation roles there is one model."""
    folders = {CHAT: Path(settings.chat_model)}
    if settings.moderation_model:
        folders[INPUT_MODERATION] = Path(settings.moderation_model)
    if settings.output_model and settings.output_model != settings.moderation_model:
        folders[OUTPUT_MODERATION] = Path(settings.output_model)
    return folders


def load_models(settings: Settings, rank: Rank) -> dict[str, GroupModel]:
    """Load this rank's share of every model and give each its keys and values.

    Raises:
        WeightsError: a folder that cannot be loaded.
        ValueError: not enough memory for one full window of keys and values.
    """
    dtype = torch_dtype(DTYPES[settings.dtype])
    loaded: dict[str, PreTrainedModel] = {}
    for name, folder in model_folders(settings).items():
        started = time.monotonic()
        loaded[name] = _load(folder, settings, rank)
        log.info("model.loaded rank=%d model=%s seconds=%.1f", rank.rank, name, time.monotonic() - started)
    # The chat model's keys and values get what is left when all weights are there.
    folders = model_folders(settings)
    order = [*(name for name in loaded if name != CHAT), CHAT]
    widest = max(_kv_shape(model, rank, dtype).bytes_per_layer for model in loaded.values())
    return {name: _resident(name, folders[name], loaded[name], settings, rank, widest) for name in order}


def _load(folder: Path, settings: Settings, rank: Rank) -> PreTrainedModel:
    """This rank's share; on a GPU in the form in which it is multiplied, so that what is free can be measured."""
    dtype, kind = torch_dtype(DTYPES[settings.dtype]), DTYPES[settings.dtype].kind
    on_gpu = rank.device.type == "cuda"
    model = load_model(folder, rank, dtype, matrices_on_host=kind is not WeightKind.PLAIN and on_gpu)
    if on_gpu:
        pack_linears(model, dtype, rank.device, kind=kind, own_kernels=settings.kernels == "auto")
        model.to(rank.device)  # type: ignore[arg-type] # matrices that are not a linear layer's
        torch.cuda.empty_cache()  # what packing used on the way is free again
    return model


def _resident(
    name: str, folder: Path, model: PreTrainedModel, settings: Settings, rank: Rank, widest: int
) -> GroupModel:
    dtype = DTYPES[settings.dtype]
    window = int(model.config.max_position_embeddings)
    if name == CHAT and settings.max_context_tokens:
        window = min(window, settings.max_context_tokens)
    pool = _pool_shape(name, window, _kv_shape(model, rank, torch_dtype(dtype)), settings, rank, widest)
    runner = ModelRunner(model, pool, dtype, rank.device, own_kernels=settings.kernels == "auto")
    return GroupModel(name, folder, window, int(model.config.vocab_size), pool, runner)


def _kv_shape(model: PreTrainedModel, rank: Rank, dtype: torch.dtype) -> KvShape:
    config = model.config
    return KvShape(
        layers=config.num_hidden_layers,
        heads=config.num_attention_heads // rank.world,
        head_dim=config.hidden_size // config.num_attention_heads,
        bytes_per_value=dtype.itemsize,
    )


def _pool_shape(name: str, window: int, shape: KvShape, settings: Settings, rank: Rank, widest: int) -> PoolShape:
    on_gpu = rank.device.type == "cuda"
    if name == CHAT:
        num_tokens = chat_tokens(
            settings.kv_cache_tokens,
            window,
            settings.max_running,
            shape,
            _free_bytes(rank.device),
            1 if on_gpu else rank.world,
            on_gpu=on_gpu,
            widest=widest,
        )
        num_tokens = _least_of_all_ranks(num_tokens, rank)
    else:
        num_tokens = score_tokens(window)
    block_tokens = settings.block_tokens if name == CHAT else _SCORE_BLOCK_TOKENS
    return PoolShape(-(-num_tokens // block_tokens), block_tokens)


def _least_of_all_ranks(num_tokens: int, rank: Rank) -> int:
    """What every rank can keep: the leader hands out the same blocks on all of them."""
    if rank.world == 1:
        return num_tokens
    least = torch.tensor(num_tokens, device=rank.device)
    dist.all_reduce(least, dist.ReduceOp.MIN)
    return int(least)


def _free_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return available_bytes()
