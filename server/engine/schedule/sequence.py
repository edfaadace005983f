"""Tokens inside the engine and how far they have come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from server.engine.schedule.block_pool import NO_PARENT, chain_digest
from server.engine.schedule.prompt_lookup import DraftLength, PromptLookup
from server.engine.schedule.step import pending_token
from server.engine.schedule.token_tree import TokenTree
from server.wire import Finished, Sampling, Scored

CHAT = "chat"  # the model that replies; every other one classifies


@dataclass(slots=True, eq=False, kw_only=True)
class TokenSequence:
    """Tokens of one model with the blocks that hold their keys and values.

    [0, num_computed_tokens) have keys and values in `blocks` once the steps that are planned have run; the rest of
    `tokens` is still to be computed. The last `num_pending_tokens` are `pending_token`s of steps that are not settled.
    """

    request_id: str
    model: str
    tokens: list[int]
    blocks: list[int] = field(default_factory=list)
    num_computed_tokens: int = 0
    num_pending_tokens: int = 0
    num_registered_blocks: int = 0  # the first full blocks, offered for reuse
    num_cached_tokens: int = 0  # taken from earlier sequences when first admitted
    was_admitted: bool = False
    ended: bool = False
    known_digests: list[bytes] = field(default_factory=list)  # of the first full blocks
    _block_table: tuple[int, ...] | None = None

    @property
    def num_tokens(self) -> int:
        """Tokens so far, those included that are pending."""
        return len(self.tokens)

    @property
    def num_known_tokens(self) -> int:
        """Tokens whose values are here."""
        return len(self.tokens) - self.num_pending_tokens

    @property
    def block_table(self) -> tuple[int, ...]:
        """`blocks` as a tuple, made anew only after they changed."""
        if self._block_table is None:
            self._block_table = tuple(self.blocks)
        return self._block_table

    def add_blocks(self, blocks: Sequence[int]) -> None:
        """Append to the block table."""
        self.blocks.extend(blocks)
        self._block_table = None

    def replace_block(self, index: int, block: int) -> None:
        """Use a block of the same content instead."""
        self.blocks[index] = block
        self._block_table = None

    def drop_blocks(self) -> list[int]:
        """The blocks, no longer this sequence's; everything is to be computed again."""
        blocks, self.blocks, self._block_table = self.blocks, [], None
        self.num_computed_tokens = self.num_registered_blocks = 0
        return blocks

    def digests(self, num_blocks: int, block_tokens: int) -> list[bytes]:
        """Content names of the first `num_blocks` full blocks of known tokens; each is computed once."""
        known = self.known_digests
        for index in range(len(known), num_blocks):
            parent = known[-1] if known else NO_PARENT
            known.append(chain_digest(parent, self.tokens[index * block_tokens : (index + 1) * block_tokens]))
        return known[:num_blocks]


@dataclass(slots=True, eq=False, kw_only=True)
class GenerateSequence(TokenSequence):
    """A prompt and the reply sampled so far."""

    sampling: Sampling
    num_prompt_tokens: int
    max_new_tokens: int  # the request's, cut to what the window leaves
    arrival: float  # monotonic seconds, as is the deadline
    deadline: float | None = None
    caller: str = ""
    turn: tuple[int, int] = (0, 0)  # of those that wait the lowest is next
    lookup: PromptLookup = field(default_factory=PromptLookup)
    draft_length: DraftLength = field(default_factory=DraftLength)

    @property
    def num_new_tokens(self) -> int:
        """Reply tokens so far."""
        return self.num_known_tokens - self.num_prompt_tokens

    @property
    def is_all_planned(self) -> bool:
        """Whether every token of the reply is known or pending: no step needs more of it."""
        return len(self.tokens) - self.num_prompt_tokens >= self.max_new_tokens

    def plan_token(self, row: int) -> None:
        """The step just planned will sample the next token from row `row` of its logits."""
        self.tokens.append(pending_token(row))
        self.num_pending_tokens += 1

    def settle_tokens(self, tokens: Sequence[int]) -> None:
        """The first pending token is known, and those behind it that were drafted and right.

        What was computed of tokens that were not right is to be computed again.
        """
        assert self.num_pending_tokens, self.request_id
        assert len(tokens) == 1 or self.num_pending_tokens == 1, "nothing is planned behind a draft"
        at = self.num_known_tokens
        self.tokens[at : at + 1] = tokens
        self.num_pending_tokens -= 1
        if not self.num_pending_tokens:
            self.num_computed_tokens = min(self.num_computed_tokens, self.num_known_tokens - 1)

    def drop_pending(self) -> None:
        """Forget what is not known: the reply ends here."""
        del self.tokens[self.num_known_tokens :]
        self.num_pending_tokens = 0

    def finished(self, reason: str) -> Finished:
        """The request's end, as the front hears of it."""
        return Finished(
            self.request_id,
            reason,
            self.num_prompt_tokens,
            num_cached_tokens=self.num_cached_tokens,
            num_new_tokens=self.num_new_tokens,
        )


@dataclass(slots=True, eq=False, kw_only=True)
class ScoreSequence(TokenSequence):
    """One window of a text to classify: prefix + text window + closing, then the label tree."""

    request: ScoreRequest
    num_prefix_tokens: int
    is_all_planned: bool = False  # its last chunk and its tree are in a step
    log_probs: tuple[tuple[float, ...], ...] | None = None  # [candidate][token]

    @property
    def tree(self) -> TokenTree:
        """The candidates, shared by the request's windows."""
        return self.request.tree

    @property
    def num_own_tokens(self) -> int:
        """Tokens after the prefix: what is to be computed when the prefix is cached."""
        return len(self.tokens) - self.num_prefix_tokens + self.tree.num_tokens

    @property
    def num_entries(self) -> int:
        """Entries of the block table: the tokens', then the tree's."""
        return len(self.tokens) + self.tree.num_tokens


@dataclass(slots=True, eq=False, kw_only=True)
class ScoreRequest:
    """A text to classify, as the sequences of its windows."""

    request_id: str
    model: str
    tree: TokenTree
    arrival: float
    deadline: float | None = None
    of_reply: bool = False  # the verdict that a reply under way waits for
    caller: str = ""
    turn: tuple[int, int] = (0, 0)
    sequences: list[ScoreSequence] = field(default_factory=list)
    num_begun: int = 0  # sequences[:num_begun] have had blocks
    ended: bool = False

    @property
    def waiting(self) -> list[ScoreSequence]:
        """Windows that have not begun."""
        return self.sequences[self.num_begun :]

    @property
    def num_waiting_tokens(self) -> int:
        """Tokens of the windows that have not begun."""
        return sum(window.num_own_tokens for window in self.waiting)

    def scored(self) -> Scored | None:
        """The result, or None while a window is missing."""
        windows = [sequence.log_probs for sequence in self.sequences if sequence.log_probs is not None]
        if len(windows) < len(self.sequences):
            return None
        num_tokens = sum(sequence.num_entries for sequence in self.sequences)
        num_cached_tokens = sum(sequence.num_cached_tokens for sequence in self.sequences)
        return Scored(self.request_id, tuple(windows), num_tokens, num_cached_tokens=num_cached_tokens)
