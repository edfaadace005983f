"""Any causal model that AutoTP shards, run by transformers' modules over paged keys and values.

On a CPU by torch's operators; on a GPU our kernels and recorded decode steps come in where they work.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor
from transformers import PreTrainedModel

from server.dtypes import KvKind, WeightKind
from server.engine.model.attention import PagedAttention, hang_in
from server.engine.model.attention_backends import AttentionBackend, choose_backend, decode_by_sdpa
from server.engine.model.attention_proof import AttentionProof
from server.engine.model.decode_graphs import DecodeGraphs
from server.engine.model.linear import num_weights, pack_linears, weight_bytes
from server.engine.model.rounded_rows import RoundedRows, Rows
from server.engine.model.step_layout import StepLayout, lay_out
from server.engine.parallel.all_reduce import AllReduce
from server.engine.parallel.group import Rank, all_agree
from server.engine.schedule.step import ModelStep
from server.engine.weights.family import window_of
from server.engine.weights.head_geometry import HeadGeometry


class TorchModel:
    """One model with its keys and values."""

    def __init__(
        self,
        model: PreTrainedModel,
        dtype: torch.dtype,
        device: torch.device,
        *,
        kind: WeightKind = WeightKind.PLAIN,
        own_kernels: bool = True,
    ) -> None:
        self._model = model
        self._dtype, self._device = dtype, device
        pack_linears(model, dtype, device, kind=kind, own_kernels=own_kernels)
        if device.type == "cuda":
            model.to(device)  # type: ignore[arg-type] # matrices that are not a linear layer's
            torch.cuda.empty_cache()  # what packing used on the way is free again
        self.weight_bytes, self.num_weights = weight_bytes(model), num_weights(model)
        reduce = AllReduce()
        self._rank = Rank(reduce.rank, reduce.world, device)
        self._heads = HeadGeometry.of(model.config).share(reduce.rank, reduce.world)
        self._backend = self._agreed(choose_backend(self._heads, dtype, device, own_kernels=own_kernels))
        self._layers: list[PagedAttention] = []
        self._spare_slot = 0  # nobody's: padding goes there
        self._graphs: DecodeGraphs | None = None

    def allocate(self, num_slots: int, kind: KvKind = KvKind.PLAIN) -> None:
        """Take the memory for keys and values of `num_slots` tokens; compare attention over them with the model's own.

        Raises:
            WeightsError: they differ, or the family asks for something that is not computed; all ranks find the same.
        """
        proof = AttentionProof(self._model, num_slots, self._device)
        self._layers = hang_in(self._model, self._heads, self._backend, rows=self._rows_of(num_slots + 1, kind))
        rounded_to = torch.bfloat16 if kind is KvKind.INT8 else self._dtype  # bytes are off by about as much
        proof.check(lambda step: self.forward(lay_out(step, proof.BLOCK_TOKENS, self._device)), rounded_to)
        self._spare_slot = num_slots
        self._graphs = self._new_graphs()

    def _rows_of(self, num_slots: int, kind: KvKind) -> Callable[[], Rows]:
        shape = (num_slots, self._heads.kv_heads, self._heads.head_dim)
        if kind is KvKind.INT8:
            return lambda: RoundedRows(shape, self._dtype, self._device)
        # Written at once, so that the memory is taken now and not in the middle of some request.
        return lambda: torch.empty(shape, dtype=self._dtype, device=self._device).zero_()

    @property
    def kv_bytes(self) -> int:
        """Bytes of keys and values on this rank."""
        return sum(layer.keys.nbytes + layer.values.nbytes for layer in self._layers)

    def record_decodes(self, max_rows: int) -> None:
        """Record decode steps of up to `max_rows` rows, where they are recorded at all. All ranks call this."""
        if self._graphs is not None:
            self._graphs.record_up_to(max_rows, self._device)

    def _new_graphs(self) -> DecodeGraphs | None:
        if self._device.type != "cuda":
            return None
        longest = window_of(self._model.config) if self._backend.decodes_in_place else None
        return DecodeGraphs(self.forward, self._spare_slot, lambda holds: all_agree(self._rank, holds), longest=longest)

    def _agreed(self, backend: AttentionBackend) -> AttentionBackend:
        """On a GPU, `backend` with the decode that works on every rank: they record graphs of the same shapes."""
        if self._device.type == "cpu" or all_agree(self._rank, backend.decodes_in_place):
            return backend
        return replace(backend, decode=decode_by_sdpa, decodes_in_place=False)

    def run(self, step: ModelStep, block_tokens: int, sampled_before: Tensor | None = None) -> Tensor:
        """Logits [num_rows, vocab] in float32; `sampled_before` for tokens that are pending."""
        layout = lay_out(step, block_tokens, self._device, sampled_before=sampled_before)
        if self._graphs is not None and layout.is_decode:
            return self._graphs.run(layout).float()
        return self.forward(layout).float()

    def forward(self, layout: StepLayout) -> Tensor:
        """Logits [num_rows, vocab] in the model's dtype."""
        for layer in self._layers:
            layer.layout = layout
        logits: Tensor = self._model(
            input_ids=layout.token_ids,
            position_ids=layout.positions,
            use_cache=False,
            logits_to_keep=layout.logit_rows,
        ).logits
        return logits[0]
