"""endpoint.toml: everything about one endpoint, in one strict file. endpoint.example.toml explains each key."""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from deploy.aws.partitions import dns_suffix, partition_of
from deploy.errors import DeployError
from server import cuda

Setting = str | int | float | bool
NAME_PATTERN = r"[a-zA-Z0-9](-*[a-zA-Z0-9])*"
DEFAULT_FILE = Path("endpoint.toml")
ROLE_PATTERN = r"^arn:aws[a-z\-]*:iam::\d{12}:role/.+$"
S3_PREFIX_PATTERN = r"^s3://[a-z0-9][a-z0-9.\-]{1,61}[a-z0-9]/(.+/)?$"


class Table(BaseModel):
    """A table of the file: frozen, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Image(Table):
    """The container image, and how it is built."""

    repository: str = "openchatkit-server"
    tag: str = "latest"
    digest: str | None = Field(default=None, pattern=r"^sha256:[0-9a-f]{64}$")
    uri: str | None = None  # an image that is not in this account's ECR
    flavor: Literal["gpu", "cpu"] = "gpu"
    cuda: str = cuda.VERSION
    base_image: str | None = None
    codebuild_role: str | None = Field(default=None, pattern=ROLE_PATTERN)
    codebuild_source: str | None = Field(default=None, pattern=S3_PREFIX_PATTERN)


class Artifact(Table):
    """A packaged folder here and its place in S3."""

    s3: str = Field(pattern=S3_PREFIX_PATTERN)
    folder: Path | None = None


class Artifacts(Table):
    """What the container finds on disk: chat at /opt/ml/model, the others in a channel of their name."""

    chat: Artifact | None = None
    moderation: Artifact | None = None
    output_moderation: Artifact | None = None
    index: Artifact | None = None
    encoder: Artifact | None = None

    def present(self) -> dict[str, Artifact]:
        """The artifacts given, by name."""
        return {name: getattr(self, name) for name in type(self).model_fields if getattr(self, name) is not None}


class Instance(Table):
    """The machines behind the endpoint."""

    type: str = Field(default="ml.g5.12xlarge", pattern=r"^ml\.[a-z0-9\-]+\.[a-z0-9]+$")
    count: int = Field(default=1, ge=1)
    fallbacks: tuple[str, ...] = Field(default=(), max_length=4)  # where `type` is not to be had, in this order
    reservation: str | None = Field(default=None, pattern=r"^arn:aws[a-z\-]*:sagemaker:.+$")
    ami: str | None = None
    volume_gb: int | None = Field(default=None, ge=1, le=512)
    provision_timeout_s: int | None = Field(default=None, ge=300, le=3600)
    ssm_access: bool = False


class Timeouts(Table):
    """Overrides of what deploy derives from the artifacts' size."""

    download_s: int | None = Field(default=None, ge=60, le=3600)
    startup_s: int | None = Field(default=None, ge=120, le=3600)


class Routing(Table):
    """Which instance gets a request."""

    strategy: Literal["LEAST_OUTSTANDING_REQUESTS", "RANDOM", "PREFIX_AWARE"] = "LEAST_OUTSTANDING_REQUESTS"
    prefix_bytes: int = Field(default=1024, ge=1024, le=65536)
    prefix_concurrency: int | None = Field(default=None, ge=1, le=1024)


class Network(Table):
    """The VPC the container is attached to, where there is one."""

    subnets: tuple[str, ...] = Field(default=(), max_length=16)
    security_groups: tuple[str, ...] = Field(default=(), max_length=5)
    isolation: bool = False


class Encryption(Table):
    """KMS keys; without them AWS's own are used."""

    volume_key: str | None = None
    storage_key: str | None = None


class Metrics(Table):
    """What SageMaker publishes to CloudWatch."""

    detailed: bool = True
    enhanced: bool = False
    period_s: Literal[10, 30, 60, 120, 180, 240, 300] = 60


class Autoscaling(Table):
    """Target tracking on concurrent requests per model, those queued in the container included."""

    min: int = Field(default=1, ge=1)
    max: int = Field(default=2, ge=1)
    concurrent_requests: float = Field(default=8, gt=0)
    scale_in_cooldown_s: int = Field(default=600, ge=0)
    scale_out_cooldown_s: int = Field(default=60, ge=0)


class Asynchronous(Table):
    """Requests and answers of minutes, through S3 and a queue, in place of a connection that waits."""

    output: str = Field(pattern=S3_PREFIX_PATTERN)
    failures: str | None = Field(default=None, pattern=S3_PREFIX_PATTERN)
    concurrent_requests: int = Field(default=8, ge=1, le=1000)


class InferenceComponent(Table):
    """A share of the endpoint's machines for each copy of the model, beside other models' components."""

    memory_mib: int = Field(ge=128)
    copies: int = Field(default=1, ge=1)
    accelerators: int | None = Field(default=None, ge=1)
    cpus: float | None = Field(default=None, ge=0.25)
    max_instances: int | None = Field(default=None, ge=1)  # SageMaker starts and stops machines as copies need them


class Update(Table):
    """How traffic moves to a new fleet: blue/green in three ways, or rolling, which needs no second whole fleet."""

    traffic: Literal["all_at_once", "canary", "linear", "rolling"] = "all_at_once"
    step_percent: int = Field(default=20, ge=1, le=50)
    wait_s: int = Field(default=60, ge=0, le=3600)
    termination_wait_s: int = Field(default=60, ge=0, le=3600)
    limit_s: int | None = Field(default=None, ge=600, le=28800)
    rollback_alarms: tuple[str, ...] = Field(default=(), max_length=10)


class IndexJob(Table):
    """How `index` builds artifacts.index from documents in S3: a SageMaker Processing job of the builder image."""

    source: str = Field(pattern=r"^s3://[a-z0-9][a-z0-9.\-]{1,61}[a-z0-9]/.+$")  # an object, or all below a prefix in /
    role: str = Field(pattern=ROLE_PATTERN)
    instance_type: str = Field(default="ml.g5.4xlarge", pattern=r"^ml\.[a-z0-9\-]+\.[a-z0-9]+$")
    volume_gb: int = Field(default=500, ge=1, le=16384)
    limit_hours: int = Field(default=24, ge=1, le=120)
    flags: tuple[str, ...] = Field(
        default=(), max_length=50
    )  # of `index_builder build`, beside those that deploy gives


class EndpointFile(Table):
    """The whole of endpoint.toml."""

    name: str = Field(pattern=f"^{NAME_PATTERN}$", max_length=50)
    region: str = Field(pattern=r"^[a-z]{2,5}(-[a-z]+)+-\d{1,2}$")
    role: str = Field(pattern=ROLE_PATTERN)
    variant: str = Field(default="main", pattern=f"^{NAME_PATTERN}$", max_length=63)
    image: Image = Image()
    artifacts: Artifacts = Artifacts()
    settings: dict[str, Setting] = {}
    instance: Instance = Instance()
    timeouts: Timeouts = Timeouts()
    routing: Routing = Routing()
    network: Network = Network()
    encryption: Encryption = Encryption()
    metrics: Metrics = Metrics()
    autoscaling: Autoscaling | None = None
    asynchronous: Asynchronous | None = None
    inference_component: InferenceComponent | None = None
    index_job: IndexJob | None = None
    update: Update = Update()
    tags: dict[str, str] = {}

    @property
    def partition(self) -> str:
        """aws, aws-cn, aws-us-gov ...: the second word of every ARN."""
        return self.role.split(":")[1]

    @property
    def account(self) -> str:
        """The twelve digits of the account that the role belongs to."""
        return self.role.split(":")[4]

    @property
    def registry(self) -> str:
        """This account's ECR host."""
        return f"{self.account}.dkr.ecr.{self.region}.{dns_suffix(self.partition)}"

    @property
    def image_tag_uri(self) -> str:
        """The image by its tag, as it is pushed."""
        return self.image.uri or f"{self.registry}/{self.image.repository}:{self.image.tag}"


def read(path: Path) -> EndpointFile:
    """The endpoint that `path` describes; folders in it are taken relative to the file.

    Raises:
        DeployError: no such file, not TOML, an unknown key (with the closest legal one) or a value that is not legal.
    """
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DeployError(f"{path}: no such file; start from deploy/endpoint.example.toml") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DeployError(f"{path}: not TOML: {error}") from error
    return parse(given, path)


def parse(given: dict[str, Any], path: Path) -> EndpointFile:
    """The endpoint described by the tables `given`, read from `path`. Raises DeployError as `read` does."""
    try:
        file = EndpointFile.model_validate(given)
    except ValidationError as error:
        raise DeployError(f"{path}: {_sentence(error)}") from error
    _check_together(file, path)
    return _resolve_folders(file, path.absolute().parent)


def builder_of(file: EndpointFile) -> EndpointFile:
    """`file` with the image that builds indexes in place of the one that serves: another tag of the same repository."""
    image = file.image.model_copy(update={"tag": f"{file.image.tag}-builder", "digest": None})
    return file.model_copy(update={"image": image})


def _sentence(error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return _unknown_key(tuple(str(part) for part in first["loc"]))
    if first["type"] == "missing":
        return f"{where} is missing"
    return f"{where}={first['input']!r}: {first['msg']}"


def _unknown_key(where: tuple[str, ...]) -> str:
    legal = sorted(_fields(EndpointFile, where[:-1]))
    close = difflib.get_close_matches(where[-1], legal, n=1)
    hint = f"; did you mean {close[0]}?" if close else "."
    return f"{'.'.join(where)} is not a key{hint} Legal here: {', '.join(legal)}"


def _fields(table: type[Table], where: tuple[str, ...]) -> list[str]:
    for part in where:
        annotation = table.model_fields[part].annotation
        options = (annotation, *get_args(annotation))
        table = next(option for option in options if isinstance(option, type) and issubclass(option, Table))
    return list(table.model_fields)


def _check_together(file: EndpointFile, path: Path) -> None:
    network, scaling = file.network, file.autoscaling
    if bool(network.subnets) != bool(network.security_groups):
        raise DeployError(f"{path}: network needs both subnets and security_groups, or neither")
    if scaling and scaling.min > scaling.max:
        raise DeployError(f"{path}: autoscaling.min={scaling.min} is above autoscaling.max={scaling.max}")
    if (partition := partition_of(file.region)) != file.partition:
        belongs = f"belongs to partition {partition}" if partition else "is in no partition that botocore knows"
        raise DeployError(f"{path}: region={file.region!r} {belongs}, and role to {file.partition}")
    _check_component(file, path)
    if file.index_job and not (file.artifacts.index and file.artifacts.encoder):
        raise DeployError(f"{path}: index_job needs artifacts.index, where it publishes, and artifacts.encoder")
    if file.index_job and file.image.uri:
        raise DeployError(f"{path}: index_job runs a builder image of image.repository; image.uri names none")
    if file.image.uri and file.image.digest:
        raise DeployError(f"{path}: image.digest belongs to image.repository; write image.uri as NAME@{'sha256:...'}")


def _check_component(file: EndpointFile, path: Path) -> None:
    component = file.inference_component
    if component is None:
        return
    if file.asynchronous:
        raise DeployError(
            f"{path}: inference_component and asynchronous: SageMaker has one or the other; leave one out"
        )
    if component.max_instances is not None and component.max_instances < file.instance.count:
        raise DeployError(
            f"{path}: inference_component.max_instances={component.max_instances} is below"
            f" instance.count={file.instance.count}"
        )


def _resolve_folders(file: EndpointFile, base: Path) -> EndpointFile:
    resolved = {
        name: artifact.model_copy(update={"folder": base / artifact.folder}) if artifact.folder else artifact
        for name, artifact in file.artifacts.present().items()
    }
    return file.model_copy(update={"artifacts": Artifacts(**resolved)})
