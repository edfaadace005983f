"""Every setting of the image: environment variables with the prefix OCK_, read once, frozen, checked."""

from __future__ import annotations

import difflib
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator

from server.dtypes import DtypeName, KvDtypeName
from server.masking import masked
from server.service_variables import without_service_variables

PREFIX = "OCK_"
_DAY_S = 86400.0
_LONGEST_RUN_DIR = 107 - len("/steps-1000-63.sock")
_LEAST_CONTEXT_TOKENS = 64  # the date, a question's tags and a few words
log = logging.getLogger(__name__)


class ConfigError(ValueError):
    """A setting that stops the start; the sentence names it, the value found and what is legal."""


class Settings(BaseModel):
    """The effective settings of one process. Durations are seconds; sizes name their unit."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    # Artifacts: a folder, an s3:// prefix, or a hub id with an optional @revision.
    chat_model: str = ""
    moderation_model: str = ""  # empty: moderation is off, and the log says so
    output_moderation_model: str = ""  # empty: the input model judges replies too
    index: str = ""  # empty: no retrieval
    encoder: str = ""  # empty: the encoder named in the index manifest
    index_poll_s: float = Field(60.0, ge=0, le=_DAY_S)  # how often a newer index is looked for; 0: only on SIGHUP
    artifact_dir: Path = Path("/tmp/openchatkit/artifacts")  # noqa: S108

    # Engine group.
    tensor_parallel_degree: int = Field(1, ge=1, le=64)
    replicas: int = Field(1, ge=1, le=16)  # groups of so many ranks each, behind the one front
    dtype: DtypeName = "bfloat16"
    kv_dtype: KvDtypeName = "auto"  # of keys and values; auto: as computed in; int8: one byte each, in half the memory
    device: Literal["auto", "cpu", "cuda"] = "auto"
    # What sums between ranks travel over. auto: shared memory if a first sum works over it, else sockets.
    group_transport: Literal["auto", "shm", "socket"] = "auto"
    group_interface: str = ""  # of sockets between ranks; empty: loopback on CPU, what NCCL picks on GPUs
    kernels: Literal["auto", "torch"] = "auto"  # auto: the engine's own where they work; torch: torch's operators alone
    overlap: Literal["auto", "on", "off"] = "auto"  # plan a step while the one before it runs; auto: on a GPU
    # Draft replies from what was said before, and verify several tokens a step. auto: where that pays, which is where
    # few replies run, and steps do not overlap: on GPUs only with OCK_OVERLAP=off.
    speculation: Literal["auto", "off"] = "auto"
    max_context_tokens: int = Field(0, ge=0)  # 0: the model's own window; else 64 or more
    max_step_tokens: int = Field(512, ge=16)  # where it is less than max_running + 16, that is what counts
    max_running: int = Field(32, ge=1)
    max_queue: int = Field(128, ge=1)
    max_queued_tokens: int = Field(131072, ge=1)
    block_tokens: int = Field(16, ge=1, le=256)
    kv_cache_tokens: int = Field(0, ge=0)  # 0: sized from the memory that is left (GPU) or from max_running (CPU)
    rank_nice: int = Field(5, ge=0, le=19)  # how far ranks on CPUs step back behind the front, as nice(1) says it
    step_timeout_s: float = Field(120.0, gt=0, le=_DAY_S)
    start_timeout_s: float = Field(3600.0, gt=0, le=_DAY_S)
    golden: Literal["require", "if_present", "off"] = "if_present"

    # The turn.
    chat_format: Literal[
        "auto", "openchatkit", "dolly", "openassistant", "alpaca", "vicuna", "llama-2", "chatml", "template"
    ] = "auto"  # how conversations are written; auto: as the checkpoint shows; template: by its chat_template
    system_prompt: str = ""  # instructions that stand before every conversation
    policy: Path | None = None  # moderation policy file; None: the OpenChatKit policy
    moderation: Literal["on", "off"] = "on"
    moderation_scores: Literal["on", "off"] = "on"  # off: clients learn the label of a verdict and no numbers
    audit_log: Path | None = None  # a file of JSON lines, one for each text that was blocked or answered with care
    audit_text: Literal["hash", "text"] = "hash"  # what a line holds of the text
    max_new_tokens: int = Field(256, ge=1)  # when a request names none
    long_replies: Literal["clamp", "refuse"] = "clamp"  # a request for more tokens than the window has room for
    request_deadline_s: float = Field(55.0, gt=0, le=_DAY_S)
    stream_deadline_s: float = Field(450.0, gt=0, le=_DAY_S)
    # The longest expected wait for a reply to begin, and never more than half of the request's deadline: what would
    # wait longer, at the pace at which replies end, is refused at once with 429.
    max_wait_s: float = Field(10.0, gt=0, le=_DAY_S)
    passage_tokens: int = Field(384, ge=0)
    # Sum up what a long conversation's prompt has no more room for, in the background: for models that can.
    summaries: Literal["on", "off"] = "off"
    summary_tokens: int = Field(128, ge=16, le=1024)  # of one summary, and no more than an eighth of the window
    session_wait_s: float = Field(
        3.0, ge=0, le=_DAY_S
    )  # how long a second request waits for a busy session; 0: 409 at once
    session_lock_s: float = Field(600.0, gt=0, le=2 * _DAY_S)  # longer than any turn may take
    session_ttl_s: float = Field(30 * _DAY_S, ge=0, le=36500 * _DAY_S)  # 0: conversations never expire
    require_session: bool = False
    store: str = "sqlite:///conversations.sqlite"

    # Retrieval.
    search_k: int = Field(1, ge=1, le=100)
    search_window: int = Field(5, ge=0, le=50)
    search_threshold: float = Field(0.5, ge=-1, le=1)
    score_floor: float | None = Field(None, ge=-1, le=1)  # None: the one measured when the index was built
    reranker: str = ""  # a cross-encoder of sentence-transformers that orders the passages of the index; empty: none
    # The chat model writes a question of a conversation out before it is searched for: for models that can.
    rewrite: Literal["on", "off"] = "off"
    rewrite_timeout_s: float = Field(2.0, gt=0, le=60)  # then the search goes by the conversation as it does without
    retrievers: str = ""  # names joined by commas: index, web, entry points; empty: what is set up
    retrieval_timeout_s: float = Field(5.0, gt=0, le=_DAY_S)
    encoder_device: Literal["auto", "cpu", "cuda"] = "auto"
    encoder_threads: int = Field(1, ge=1, le=64)  # CPU threads that encode queries
    web_search_url: str = ""  # an address with {query}, and optionally {k} and {key}
    web_search_host: str = ""  # the only host that is asked; empty: the address's own
    web_search_key: SecretStr = SecretStr("")
    web_search_key_header: str = ""  # the header that carries the key, when the address does not
    web_search_results: str = "results"  # dotted path of the list of results in an answer
    web_search_title: str = "title"  # dotted path in a result, as the next two
    web_search_text: str = "snippet"
    web_search_link: str = "url"
    web_search_timeout_s: float = Field(3.0, gt=0, le=_DAY_S)
    web_search_cache: int = Field(1000, ge=0)  # questions whose results are kept
    web_search_cache_s: float = Field(3600.0, ge=0, le=365 * _DAY_S)

    # HTTP.
    host: str = ""  # empty: every address of this machine, of IPv4 and IPv6, whichever there are
    port: int = Field(8080, ge=1, le=65535)
    # A second port of the same addresses. Where there is one, what belongs to operators is told there alone.
    operator_port: int | None = Field(None, ge=1, le=65535)
    threads: int = Field(64, ge=4)
    max_body_bytes: int = Field(6 * 1024 * 1024, ge=1024)
    drain_timeout_s: float = Field(25.0, gt=0, le=28)
    model_name: str = "openchatkit"
    page_title: str = Field("OpenChatKit", min_length=1, max_length=80)
    page_logo: Path | None = None  # an SVG or PNG file; None: the page's own
    # Names joined by commas under which this server is asked, or *. Where it listens on loopback alone, localhost and
    # addresses are legal beside them, and no other; elsewhere any name is where none is set.
    allowed_hosts: str = ""
    cors_origins: str = ""  # origins joined by commas whose pages may call, or *; empty: pages of this server alone
    api_keys: Path | None = None  # a file of keys, one JSON object a line; None: whoever reaches the port may ask
    # The same as an object in S3, s3://bucket/name, for servers that no file reaches; looked at again every minute.
    api_keys_source: str = ""
    # Who reads /metrics where there are keys; open: anybody who reaches the port, as SageMaker's own scraper must.
    metrics: Literal["operator", "open"] = "operator"
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"  # of this server; libraries log from WARNING on
    log_format: Literal["text", "json"] = "text"
    otlp_endpoint: str = ""  # where traces go, http://collector:4318/v1/traces; needs the extra "otel"
    run_dir: Path = Path("/tmp/openchatkit/run")  # noqa: S108 - sockets and locks

    @field_validator("store")
    @classmethod
    def _known_store(cls, value: str) -> str:
        if not value.startswith(("sqlite:///", "dynamodb://")) and value != "memory://":
            raise ValueError("legal are sqlite:///path, dynamodb://table and memory://")
        return value

    @field_validator("api_keys_source")
    @classmethod
    def _an_object(cls, value: str) -> str:
        bucket, _, name = value.removeprefix("s3://").partition("/")
        if value and not (value.startswith("s3://") and bucket and name.strip("/")):
            raise ValueError("legal is an object, as in s3://bucket/keys.jsonl")
        return value

    @field_validator("page_logo")
    @classmethod
    def _readable_logo(cls, value: Path | None) -> Path | None:
        if value is not None and (value.suffix.lower() not in (".svg", ".png", ".jpg", ".webp") or not value.is_file()):
            raise ValueError("legal is a file that ends in .svg, .png, .jpg or .webp")
        return value

    @field_validator("max_context_tokens")
    @classmethod
    def _room_for_a_question(cls, value: int) -> int:
        if 0 < value < _LEAST_CONTEXT_TOKENS:
            raise ValueError(f"legal are 0, the model's own window, and {_LEAST_CONTEXT_TOKENS} or more")
        return value

    @field_validator("run_dir")
    @classmethod
    def _room_for_a_socket(cls, value: Path) -> Path:
        if len(os.fsencode(value)) > _LONGEST_RUN_DIR:
            raise ValueError(f"legal are paths of at most {_LONGEST_RUN_DIR} bytes: Linux has 107 for a socket in it")
        return value

    @model_validator(mode="after")
    def _lock_outlives_a_turn(self) -> Settings:
        longest = max(self.request_deadline_s, self.stream_deadline_s)
        if self.session_lock_s <= longest:
            raise ValueError(
                f"OCK_SESSION_LOCK_S={self.session_lock_s:g}: legal is more than the longest deadline, {longest:g} "
                "(OCK_REQUEST_DEADLINE_S, OCK_STREAM_DEADLINE_S), or a second request could take a turn under way"
            )
        return self

    @model_validator(mode="after")
    def _ports_differ(self) -> Settings:
        if self.operator_port == self.port:
            raise ValueError(f"OCK_OPERATOR_PORT={self.operator_port}: legal is another port than OCK_PORT")
        return self

    @model_validator(mode="after")
    def _one_file_of_keys(self) -> Settings:
        if self.api_keys_source and self.api_keys is not None:
            raise ValueError("OCK_API_KEYS, OCK_API_KEYS_SOURCE: legal is one of the two")
        return self

    @property
    def key_file(self) -> Path | None:
        """Where the API keys are read: the operator's file, or the copy of the one in S3."""
        return self.run_dir / "keys.jsonl" if self.api_keys_source else self.api_keys

    @property
    def ports(self) -> list[int]:
        """Every port that the front listens on."""
        return [self.port] if self.operator_port is None else [self.port, self.operator_port]

    @property
    def engine_address(self) -> str:
        """Where rank 0 of the group whose run folder this is listens for the front."""
        return f"ipc://{self.run_dir}/engine.sock"

    def group_dir(self, group: int) -> Path:
        """The run folder of a group's ranks."""
        return self.run_dir if self.replicas == 1 else self.run_dir / f"group-{group}"

    @property
    def engine_addresses(self) -> list[str]:
        """Where the groups of this run folder listen for the front."""
        return [f"ipc://{self.group_dir(group)}/engine.sock" for group in range(self.replicas)]

    @property
    def step_tokens(self) -> int:
        """New tokens of one step at most: a token of every reply that is under way, and room for a prompt."""
        return max(self.max_step_tokens, self.max_running + 16)

    @property
    def output_model(self) -> str:
        """The checkpoint that judges replies."""
        return self.output_moderation_model or self.moderation_model


def from_env(environ: Mapping[str, str]) -> Settings:
    """The settings named in `environ`; the only place where a process reads them.

    An empty value stands for none, as files of Compose and charts write it: the default, or a text without characters.

    Raises:
        ConfigError: an unknown OCK_ name, or a value that is not legal. Names that Kubernetes makes of a service
            called ock are passed over.
    """
    kept, _ = without_service_variables(environ, PREFIX)
    given = {name[len(PREFIX) :].lower(): value for name, value in kept.items() if name.startswith(PREFIX)}
    for name in given:
        if name not in Settings.model_fields:
            raise ConfigError(_unknown(name))
    try:
        return Settings.model_validate({name: value for name, value in given.items() if value or _is_text(name)})
    except ValidationError as error:
        raise ConfigError(_sentence(error)) from error


def _is_text(name: str) -> bool:
    return isinstance(Settings.model_fields[name].default, str)


def _unknown(name: str) -> str:
    close = difflib.get_close_matches(name, Settings.model_fields, n=1)
    hint = f"; did you mean {PREFIX}{close[0].upper()}?" if close else "."
    legal = ", ".join(PREFIX + field.upper() for field in Settings.model_fields)
    return f"{PREFIX}{name.upper()} is not a setting{hint} Legal names: {legal}"


def _sentence(error: ValidationError) -> str:
    first = error.errors()[0]
    said = first["msg"].removeprefix("Value error, ")
    if not first["loc"]:  # of several settings; the sentence names them
        return said
    name = PREFIX + "_".join(str(part) for part in first["loc"]).upper()
    return f"{name}={masked(repr(first['input']))}: {masked(said)}"


def describe(settings: Settings) -> str:
    """The effective settings, one a line, secrets masked: printed once at start."""
    return "\n".join(f"{PREFIX}{name.upper()}={masked(str(value))}" for name, value in settings.model_dump().items())
