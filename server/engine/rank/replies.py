"""Replies as rank 0 sees them: how their tokens are chosen, and what text they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from tokenizers import Tokenizer

from server.engine.rank.step_executor import RowLogprobs, StepResults
from server.engine.sampling.grammar import Grammar, Grammars
from server.engine.sampling.row import SamplingRow, is_counted, is_penalised
from server.engine.sampling.sampler import Draws
from server.engine.sampling.seen_tokens import SeenTokens
from server.engine.sampling.text_stream import TextStream
from server.engine.sampling.token_text import TokenText
from server.engine.schedule.sequence import GenerateSequence
from server.engine.schedule.step_plan import ReplyRows, verified
from server.wire import Alternative, Piece, TokenLogprobs


class ReplyTokenizer:
    """The chat model's tokenizer, and what its tokens are for.

    Attributes:
        end_tokens: end a reply.
        textless: ids below `vocab_size` that the tokenizer does not know; the model has logits for them all the same.
    """

    def __init__(self, tokenizer: Tokenizer, end_tokens: frozenset[int], vocab_size: int) -> None:
        self.tokenizer = tokenizer
        self.end_tokens = end_tokens
        self.textless = tuple(
            token for token in range(vocab_size) if token not in end_tokens and tokenizer.id_to_token(token) is None
        )
        self.text_of = TokenText(tokenizer)
        self.grammars = Grammars(tokenizer, end_tokens, vocab_size)


@dataclass(frozen=True)
class Progress:
    """What a step made of one reply.

    Attributes:
        tokens: that it grew by, the last of them perhaps the one that ended it; None: its numbers are not finite.
        text: what may be shown of them.
        stopped: whether the reply ends with them.
        failed: why the reply cannot go on; None: it can.
    """

    tokens: list[int] | None
    text: str = ""
    stopped: bool = False
    failed: str | None = None


@dataclass
class Reply:
    """What rank 0 keeps of a reply beside its sequence."""

    sequence: GenerateSequence
    tokenizer: ReplyTokenizer
    text: TextStream
    draws: Draws
    seen: SeenTokens | None
    grammar: Grammar | None
    logprobs: list[TokenLogprobs] = field(default_factory=list)  # that no piece has carried yet

    @classmethod
    def to(cls, sequence: GenerateSequence, tokenizer: ReplyTokenizer, grammar: Grammar | None) -> Reply:
        """The beginning of the reply that `sequence` is to become."""
        sampling = sequence.sampling
        # What is in the prompt alone counts for the repetition penalty only.
        prompt = sequence.tokens if sampling.repetition_penalty != 1.0 or not is_counted(sampling) else ()
        seen = SeenTokens(prompt) if is_penalised(sampling) else None
        text = TextStream(tokenizer.tokenizer, sampling.stop)
        return cls(sequence, tokenizer, text, draws=Draws(sampling.seed), seen=seen, grammar=grammar)

    def sampling_rows(self, rows: ReplyRows) -> list[SamplingRow]:
        """How the token of each row is chosen; called when the step that they belong to has been planned."""
        sequence = self.sequence
        first = len(sequence.tokens) - 1 - sequence.num_prompt_tokens  # the last token is the one to be sampled
        pending = sequence.tokens[sequence.num_known_tokens : -1]
        return [self._sampling_row(first + at, (*pending, *rows.draft[:at])) for at in range(rows.num_rows)]

    def advance(self, rows: ReplyRows, results: StepResults) -> Progress:
        """Take what a step sampled behind the last token and the drafted ones."""
        sampled = results.tokens[rows.first_row : rows.first_row + rows.num_rows]
        num_right = len(verified(rows.draft, sampled))
        tokens = [token for token in sampled[:num_right] if token is not None]
        if len(tokens) < num_right:
            return Progress(None)
        text = ""
        for at, token in enumerate(tokens):
            if token in self.tokenizer.end_tokens or token in self.sequence.sampling.stop_token_ids:
                return Progress(tokens[: at + 1], text, stopped=True)
            text += self._take(token, results.logprobs.get(rows.first_row + at))
            if self.text.stopped or (self.grammar is not None and self.grammar.is_over):
                return Progress(tokens[: at + 1], text, stopped=True)
        return Progress(tokens, text, failed=None if self.grammar is None else self.grammar.error)

    def piece(self, text: str) -> Piece | None:
        """`text` as a message, with the log-probabilities that are due; None when there is nothing to say."""
        if not text:
            return None
        logprobs, self.logprobs = tuple(self.logprobs), []
        return Piece(self.sequence.request_id, text, self.sequence.num_new_tokens, logprobs=logprobs)

    def _sampling_row(self, position: int, then: Sequence[int]) -> SamplingRow:
        sampling = self.sequence.sampling
        draw = self.draws.at(position) if sampling.do_sample else 0.0
        allowed = None if self.grammar is None else self.grammar.allowed()
        return SamplingRow(sampling, draw, self.seen, then=then, num_new_tokens=position, allowed=allowed)

    def _take(self, token: int, logprobs: RowLogprobs | None) -> str:
        if self.seen is not None:
            self.seen.add(token)
        if self.grammar is not None:
            self.grammar.take(token)
        if logprobs is not None:
            self.logprobs.append(self._named(token, logprobs))
        return self.text.push(token)

    def _named(self, token: int, logprobs: RowLogprobs) -> TokenLogprobs:
        name = self.tokenizer.text_of
        most = self.sequence.sampling.logprobs or 0
        top = tuple(Alternative(token, name(token), value) for token, value in logprobs.top[:most])
        return TokenLogprobs(Alternative(token, name(token), logprobs.chosen), top)
