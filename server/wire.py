"""The messages between the front and rank 0, as msgpack frames over a local socket; never pickle.

A client opens with `Hello` and is answered with `Welcome`, then sends work under request ids of its own making.
Every admitted request ends exactly once: `Finished` for `Generate`, `Scored` for `Score`, or `Failed` for either.
"""

from __future__ import annotations

import msgspec

from server.errors import ErrorCode

# The group's models by name: the one that replies, and those that judge.
CHAT = "chat"
INPUT_MODERATION = "input_moderation"
OUTPUT_MODERATION = "output_moderation"


class Sampling(msgspec.Struct, frozen=True):
    """How the next token is chosen. Greedy when `do_sample` is false."""

    max_new_tokens: int = 256
    do_sample: bool = False
    temperature: float = 1.0
    top_k: int = 0  # 0: all
    top_p: float = 1.0
    min_p: float = 0.0  # tokens less probable than this share of the most probable one's are left out; 0: none
    repetition_penalty: float = 1.0  # of every token in prompt and reply
    frequency_penalty: float = 0.0  # off a token's logit for each time it is in the reply
    presence_penalty: float = 0.0  # off a token's logit when it is in the reply
    logit_bias: tuple[tuple[int, float], ...] = ()  # (token id, what is added to its logit)
    stop: tuple[str, ...] = ()
    min_tokens: int = 0  # no token ends the reply before it has as many
    ignore_eos: bool = False  # tokens that end a reply are never sampled
    stop_token_ids: tuple[int, ...] = ()  # tokens that end a reply, besides the checkpoint's own
    seed: int | None = None
    logprobs: int | None = None  # with each token its log-probability and those of so many alternatives, at most 20
    json_schema: str | None = None  # the reply is JSON that this schema allows; "{}": any JSON object


class Hello(msgspec.Struct, frozen=True, tag="hello"):
    """A client's first frame."""


class Generate(msgspec.Struct, frozen=True, tag="generate"):
    """Continue `prompt` (token ids) with the chat model."""

    request_id: str
    prompt: tuple[int, ...]
    sampling: Sampling
    deadline_s: float | None = None  # seconds from receipt; the reply so far is then returned, reason "deadline"
    caller: str = ""  # requests of one caller take turns with those of others, however many they are; "": its own


class Score(msgspec.Struct, frozen=True, tag="score"):
    """Log-probabilities of each candidate continuation of prefix + opening + text + closing, for `model`.

    A text that does not fit the model's window is scored in overlapping windows; nothing of it is cut. `parts` are
    scored as texts of their own, in windows after the text's. The verdict on a reply under way has places in the queue
    that no other text can take, and goes first.
    """

    request_id: str
    model: str  # a key of Welcome.models other than "chat"
    prefix: tuple[int, ...]
    text: tuple[int, ...]
    closing: tuple[int, ...]
    candidates: tuple[tuple[int, ...], ...]
    deadline_s: float | None = None
    parts: tuple[tuple[int, ...], ...] = ()
    of_reply: bool = False
    caller: str = ""  # as in Generate


class Cancel(msgspec.Struct, frozen=True, tag="cancel"):
    """Forget a request; its blocks are free within one step. Answered by `Finished(reason="cancelled")` or nothing."""

    request_id: str


class ModelShape(msgspec.Struct, frozen=True):
    """What a client must know of a model to build prompts for it."""

    max_context_tokens: int
    vocab_size: int
    folder: str


class Welcome(msgspec.Struct, frozen=True, tag="welcome"):
    """The group is ready: a forward pass has run on every rank."""

    models: dict[str, ModelShape]
    world: int
    dtype: str
    max_queue: int
    max_running: int = 0  # replies that are computed at once; 0: not told


class Alternative(msgspec.Struct, frozen=True, array_like=True):
    """A token that could have been sampled. Its bytes need not be whole characters."""

    token_id: int
    text: bytes
    logprob: float  # under the model's own distribution, before temperature, penalties and the like


class TokenLogprobs(msgspec.Struct, frozen=True, array_like=True):
    """A token of the reply, and the most probable ones in its place, the most probable first."""

    chosen: Alternative
    top: tuple[Alternative, ...] = ()


class Piece(msgspec.Struct, frozen=True, tag="piece"):
    """More text of a reply, whole characters only, special tokens and stop strings never in it."""

    request_id: str
    text: str
    num_tokens: int  # reply tokens so far
    logprobs: tuple[TokenLogprobs, ...] = ()  # if asked for: of the tokens since the piece before, in order


class Finished(msgspec.Struct, frozen=True, tag="finished"):
    """The end of a `Generate`: all pieces have been sent before it."""

    request_id: str
    reason: str  # stop | length | deadline | cancelled
    num_prompt_tokens: int
    num_cached_tokens: int
    num_new_tokens: int


class Scored(msgspec.Struct, frozen=True, tag="scored"):
    """The end of a `Score`: [window][candidate][token] log-probabilities."""

    request_id: str
    log_probs: tuple[tuple[tuple[float, ...], ...], ...]
    num_tokens: int
    num_cached_tokens: int


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """The other end of a request: refused at the door, or lost with the group."""

    request_id: str
    code: ErrorCode
    message: str
    retry_after_s: float | None = None


class Status(msgspec.Struct, frozen=True, tag="status"):
    """Sent to every client about twice a second."""

    num_running: int
    num_waiting: int
    num_waiting_tokens: int
    steps: int
    free_blocks: dict[str, int]
    total_blocks: dict[str, int]
    preemptions: int
    generated_tokens: int
    prefilled_tokens: int
    cached_tokens: int
    step_seconds: float
    drafted_tokens: int = 0  # by prompt lookup
    accepted_tokens: int = 0  # of those, what the model would have said too
    nonfinite_requests: int = 0  # that ended because their numbers were not finite
    reply_interval_s: float = 0.0  # from the end of a reply to that of the next while as many run as may; 0: not known


ToEngine = Hello | Generate | Score | Cancel
FromEngine = Welcome | Piece | Finished | Scored | Failed | Status

_encoder = msgspec.msgpack.Encoder()
_to_engine = msgspec.msgpack.Decoder(ToEngine)
_from_engine = msgspec.msgpack.Decoder(FromEngine)


def encode(message: ToEngine | FromEngine) -> bytes:
    """One frame."""
    return _encoder.encode(message)


def decode_to_engine(frame: bytes) -> ToEngine:
    """A client's frame. Raises msgspec.ValidationError for anything else."""
    message: ToEngine = _to_engine.decode(frame)
    return message


def decode_from_engine(frame: bytes) -> FromEngine:
    """Rank 0's frame. Raises msgspec.ValidationError for anything else."""
    message: FromEngine = _from_engine.decode(frame)
    return message
