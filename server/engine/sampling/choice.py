"""One token drawn from each row of logits, without putting the vocabulary in order.

The most probable tokens, a few of many thousands, decide nearly every draw: top-k, top-p and min-p usually cut behind
them, and what they do not decide is decided exactly, by more of them or by all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from server.engine.parallel.transfer import to_device
from server.engine.sampling.row import SamplingRow

_HEADS = (64, 1024)  # the most probable tokens that are put in order, before all are
_GROUP = 64  # tokens whose largest logit stands for them while the head is sought
_NONE = float("-inf")
_BITS_OF_1 = 0x3F80  # the first 16 of a float32 1.0


@dataclass(frozen=True)
class DrawParameters:
    """Of each row, on the device of the logits: [rows] each."""

    temperature: Tensor
    top_k: Tensor  # the vocabulary's size where all may be drawn
    top_p: Tensor
    log_min_p: Tensor
    draw: Tensor

    @classmethod
    def of(cls, rows: Sequence[SamplingRow], vocabulary: int, device: torch.device) -> DrawParameters:
        """The parameters of `rows`, in one copy."""
        values = [
            (
                max(row.sampling.temperature, float(np.finfo(np.float32).tiny)),  # a smaller one rounds to zero
                min(row.sampling.top_k or vocabulary, vocabulary),
                row.sampling.top_p,
                math.log(row.sampling.min_p) if row.sampling.min_p > 0 else _NONE,
                row.draw,
            )
            for row in rows
        ]
        return cls(*to_device(np.array(values, np.float32).T.copy(), device))

    def __getitem__(self, picked: Tensor) -> DrawParameters:
        return DrawParameters(*(each[picked] for each in (self.temperature, self.top_k, self.top_p, *self._rest)))

    @property
    def _rest(self) -> tuple[Tensor, Tensor]:
        return self.log_min_p, self.draw


def draw(logits: Tensor, rows: Sequence[SamplingRow]) -> Tensor:
    """One token id [rows] a row of `logits` [rows, vocabulary] float32.

    As in transformers: temperature, top-k, top-p, min-p; then the row's own draw through the inverse of the cumulative
    distribution, most probable token first. Without top-k, the tokens behind the head have the order of their ids
    instead: the distribution is the same, and nothing is sorted for it.
    """
    vocabulary = logits.shape[-1]
    parameters = DrawParameters.of(rows, vocabulary, logits.device)
    if logits.device.type == "cpu":
        return _drawn(logits, parameters, (*_HEADS, vocabulary))
    # A GPU sorts quickly, and would have to be waited for to know which rows need more.
    largest = max(row.sampling.top_k or vocabulary for row in rows)
    return _Head(logits, parameters, next((size for size in _HEADS if largest <= size), vocabulary)).choose()


def _drawn(logits: Tensor, parameters: DrawParameters, sizes: tuple[int, ...]) -> Tensor:
    head = _Head(logits, parameters, min(sizes[0], logits.shape[-1]))
    tokens = head.choose()
    undecided = head.undecided()
    unordered = undecided & (parameters.top_k >= logits.shape[-1])
    if bool(unordered.any()):
        tokens[unordered] = head.choose_beyond(unordered.nonzero()[:, 0])
    again = (undecided & ~unordered).nonzero()[:, 0]
    if again.numel():
        tokens[again] = _drawn(logits[again], parameters[again], sizes[1:])
    return tokens


class _Head:
    """The most probable tokens of each row in order, and what may be drawn of them."""

    def __init__(self, logits: Tensor, parameters: DrawParameters, size: int) -> None:
        self.size, self._logits, self._parameters = size, logits, parameters
        values, self.token_ids = most_probable(logits, size)
        self.largest = values[:, :1]
        self._weights: Tensor | None = None  # [rows, vocabulary] of all tokens, where some row needs them
        self._is_whole = parameters.top_k <= size  # whether nothing behind the head may be drawn
        scores = (values - self.largest) / parameters.temperature[:, None]  # at most 0: no temperature overflows
        in_top_k = torch.arange(size, device=logits.device)[None] < parameters.top_k[:, None]
        weights = scores.exp() * in_top_k
        self.total = self._total(weights)
        probabilities = weights / self.total[:, None]
        before = probabilities.cumsum(-1) - probabilities
        kept = in_top_k & (before < parameters.top_p[:, None]) & (scores >= parameters.log_min_p[:, None])
        kept[:, 0] = True
        self._is_cut = ~kept[:, -1]
        self.cumulative = (probabilities * kept).cumsum(-1)

    def _total(self, weights: Tensor) -> Tensor:
        """[rows] the weights of all tokens before top-p and min-p."""
        total = weights.sum(-1)
        if self._logits.device.type != "cpu" or bool(self._is_whole.all()):
            return total
        scores = (self._logits - self.largest).div_(self._parameters.temperature[:, None])
        self._weights = scores.exp_()
        return torch.where(self._is_whole, total, self._weights.sum(-1))

    def choose(self) -> Tensor:
        """[rows] the token that each draw falls on, if it falls into the head."""
        cumulative = self.cumulative
        kept = torch.where(self._is_whole | self._is_cut, cumulative[:, -1], 1.0)
        place = _place(cumulative, (self._parameters.draw * kept)[:, None])
        return self.token_ids.gather(-1, place)[:, 0]

    def choose_beyond(self, rows: Tensor) -> Tensor:
        """The tokens of `rows`, in which more than the head may be drawn and top-k does not count: those of the head in
        order, the rest by id.
        """
        assert self._weights is not None, "rows that may draw everything need all weights"
        token_ids, draws = self.token_ids[rows], self._parameters.draw[rows, None].double()
        weights = self._weights[rows]
        weights.masked_fill_(weights < self._least(rows, weights)[:, None], 0.0).scatter_(1, token_ids, 0.0)
        head = self.cumulative[rows].double() * self.total[rows, None]
        # In groups, so that no float32 sum is of many thousands of terms.
        groups = pad(weights, (0, -weights.shape[1] % _GROUP)).view(len(rows), -1, _GROUP)
        sums = groups.sum(-1).double().cumsum(-1)
        target = draws * (head[:, -1:] + sums[:, -1:])
        behind = target - head[:, -1:]
        group = _place(sums, behind)
        before = torch.where(group > 0, sums.gather(1, (group - 1).clamp_min(0)), 0.0)
        within = groups[torch.arange(len(rows)), group[:, 0]].double().cumsum(-1)
        by_id = group * _GROUP + _place(within, behind - before)
        return torch.where(behind < 0, token_ids.gather(1, _place(head, target)), by_id)[:, 0]

    def _least(self, rows: Tensor, weights: Tensor) -> Tensor:
        """[rows] the smallest of `weights` that top-p and min-p leave."""
        top_p, total = self._parameters.top_p[rows], self.total[rows].double()
        least = self._parameters.log_min_p[rows].exp()
        for at in (top_p < 1).nonzero()[:, 0].tolist():
            least[at] = torch.maximum(least[at], _nucleus(weights[at], top_p[at].double() * total[at]))
        return least

    def undecided(self) -> Tensor:
        """[rows] whether what lies behind the head has a part in the choice."""
        parameters = self._parameters
        is_open = ~(self._is_whole | self._is_cut)
        falls_short = parameters.draw < self.cumulative[:, -1]
        is_unlimited = (parameters.top_p >= 1) & (parameters.top_k >= self._logits.shape[-1])
        return is_open & ~(falls_short & is_unlimited & (parameters.log_min_p == _NONE))


def _nucleus(weights: Tensor, wanted: Tensor) -> Tensor:
    """The smallest of the fewest largest `weights` [vocabulary], all 0 to 1, that come to `wanted`.

    They are counted by their first 16 bits, which are in the order of the numbers, and only those at the edge sorted.
    """
    bins = (_BITS_OF_1 - (weights.view(torch.int32) >> 16)).clamp_(0, _BITS_OF_1)
    cumulative = torch.bincount(bins, weights, minlength=_BITS_OF_1 + 1).double().cumsum(0)
    edge = int(torch.searchsorted(cumulative, wanted).clamp_max(_BITS_OF_1))
    at_edge = weights[bins == edge].sort(descending=True).values
    before = cumulative[edge - 1] if edge else cumulative.new_zeros(())
    num_kept = int((before + at_edge.double().cumsum(0) - at_edge < wanted).sum())
    return at_edge[max(num_kept, 1) - 1] if at_edge.numel() else weights.new_zeros(())


def _place(cumulative: Tensor, target: Tensor) -> Tensor:
    """[rows, 1] the first place whose cumulative value is above each row's `target` [rows, 1].

    Rounding may point past the last one with some probability of its own; then that is the right one.
    """
    place = torch.searchsorted(cumulative, target, right=True)
    last = torch.searchsorted(cumulative, cumulative[:, -1:].contiguous())
    return torch.minimum(place, last).clamp(0, cumulative.shape[1] - 1)


def most_probable(logits: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """The largest `size` logits [rows, size] and their ids, in falling order; of equal ones the smaller id first.

    On a CPU only groups whose largest logit is among the `size` largest such are looked at more closely: each of the
    tokens sought is in one of them.
    """
    rows, vocabulary = logits.shape
    num_groups = vocabulary // _GROUP
    if size == vocabulary:
        values, token_ids = logits.sort(dim=-1, descending=True, stable=True)
        return values, token_ids
    if logits.device.type != "cpu" or num_groups < 2 * size:
        values, token_ids = logits.topk(size)
    else:
        grouped = num_groups * _GROUP
        groups = logits[:, :grouped].view(rows, num_groups, _GROUP).amax(-1).topk(size, sorted=False).indices
        places = (groups[:, :, None] * _GROUP + torch.arange(_GROUP)).view(rows, -1)
        places = torch.cat((places, torch.arange(grouped, vocabulary).expand(rows, -1)), 1)
        values, found = logits.gather(1, places).topk(size)
        token_ids = places.gather(1, found)
    token_ids, order = token_ids.sort(dim=-1)
    values, order = values.gather(1, order).sort(dim=-1, descending=True, stable=True)
    return values, token_ids.gather(1, order)
