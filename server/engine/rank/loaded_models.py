"""The models of a group, loaded and ready to run, as the settings name them."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import distributed as dist
from transformers import PretrainedConfig

from server import wire
from server.config import Settings
from server.dtypes import DTYPES, KV_KINDS, Dtype, WeightKind
from server.engine.model.kv_budget import ChatDemand, KvShape, chat_tokens, score_tokens
from server.engine.model.runner import ModelRunner, PoolShape, torch_dtype
from server.engine.parallel.group import Rank
from server.engine.weights.family import window_of
from server.engine.weights.head_geometry import HeadGeometry
from server.engine.weights.load import load_model
from server.errors import PassingError
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
    dtype, folders = DTYPES[settings.dtype], model_folders(settings)
    packed: dict[str, _Packed] = {}
    for name, folder in folders.items():
        started = time.monotonic()
        model = load_model(folder, rank, torch_dtype(dtype), matrices_on_host=_packs_on_gpu(dtype, rank))
        runner = ModelRunner(model, dtype, rank.device, own_kernels=settings.kernels == "auto")
        packed[name] = _Packed(model.config, _kv_shape(model.config, rank, settings), runner)
        log.info("model.loaded rank=%d model=%s seconds=%.1f", rank.rank, name, time.monotonic() - started)
    beside = [each.kv_shape for name, each in packed.items() if name != CHAT]
    order = [*(name for name in packed if name != CHAT), CHAT]  # chat gets what is left when all the rest is there
    return {
        name: _resident(name, folders[name], packed[name], settings=settings, rank=rank, beside=beside)
        for name in order
    }


@dataclass(frozen=True)
class _Packed:
    """A model whose weights are as they are multiplied, without keys and values yet: what is free can be measured."""

    config: PretrainedConfig
    kv_shape: KvShape
    runner: ModelRunner


def _packs_on_gpu(dtype: Dtype, rank: Rank) -> bool:
    return dtype.kind is not WeightKind.PLAIN and rank.device.type == "cuda"


def _resident(
    name: str, folder: Path, packed: _Packed, settings: Settings, rank: Rank, beside: list[KvShape]
) -> GroupModel:
    window = window_of(packed.config)
    if name == CHAT and settings.max_context_tokens:
        window = min(window, settings.max_context_tokens)
    if name == CHAT:
        num_tokens = _chat_tokens(window, packed, settings, rank=rank, beside=beside)
    else:
        num_tokens = _score_tokens(name, window, packed.kv_shape, rank=rank)
    block_tokens = settings.block_tokens if name == CHAT else _SCORE_BLOCK_TOKENS
    pool = PoolShape(-(-num_tokens // block_tokens), block_tokens, KV_KINDS[settings.kv_dtype])
    packed.runner.allocate(pool)
    return GroupModel(name, folder, window, vocab_size=int(packed.config.vocab_size), pool=pool, runner=packed.runner)


def _kv_shape(config: PretrainedConfig, rank: Rank, settings: Settings) -> KvShape:
    heads = HeadGeometry.of(config).share(rank.rank, rank.world)
    return KvShape(
        config.num_hidden_layers, heads, DTYPES[settings.dtype].compute_bytes, kind=KV_KINDS[settings.kv_dtype]
    )


def _chat_tokens(window: int, packed: _Packed, settings: Settings, rank: Rank, beside: list[KvShape]) -> int:
    on_gpu = rank.device.type == "cuda"
    ranks = rank.world if on_gpu else rank.world * settings.replicas  # that share this memory
    demand = ChatDemand(settings.kv_cache_tokens, window, settings.max_running, world=ranks, on_gpu=on_gpu)
    num_tokens = chat_tokens(demand, packed.kv_shape, beside, free_bytes=_free_bytes(rank.device))
    return _least_of_all_ranks(num_tokens, rank)


def _score_tokens(name: str, window: int, shape: KvShape, rank: Rank) -> int:
    """Tokens for a model that classifies. Raises PassingError when they do not fit in what is free."""
    num_tokens = score_tokens(window)
    ranks_beside = 1 if rank.device.type == "cuda" else rank.world
    needed, free = num_tokens * shape.bytes_per_token, _free_bytes(rank.device) // ranks_beside
    if needed > free:
        raise PassingError(
            f"keys and values of model {name!r}, {num_tokens} tokens, need {needed >> 20} MiB a rank, {free >> 20} MiB "
            "are left: use more ranks, another dtype or a smaller model"
        )
    return num_tokens


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
