"""The container's environment on an endpoint: derived from endpoint.toml and checked by the container's own rules."""

from __future__ import annotations

from deploy.errors import DeployError
from deploy.specification.endpoint_file import EndpointFile, Setting
from deploy.specification.instance_types import has_local_disk, num_gpus
from deploy.specification.timeouts import start_timeout_s
from server import config

CHAT_FOLDER = "/opt/ml/model"
CHANNELS_FOLDER = "/opt/ml/additional-model-data-sources"
PORT = 8080
SETTING_OF_ARTIFACT = {
    "chat": "chat_model",
    "moderation": "moderation_model",
    "output_moderation": "output_moderation_model",
    "index": "index",
    "encoder": "encoder",
}
_MOST_ENTRIES, _MOST_ENTRY_BYTES, _MOST_BYTES = 100, 1024, 32 * 1024


def container_folder(artifact: str) -> str:
    """Where SageMaker puts the artifact of that name."""
    return CHAT_FOLDER if artifact == "chat" else f"{CHANNELS_FOLDER}/{artifact}"


def environment(file: EndpointFile, startup_s: int) -> dict[str, str]:
    """The variables of the endpoint's container, in a stable order: OCK_ settings and boto3's region.

    Raises:
        DeployError: a setting the container would not start with, or one that an endpoint does not allow.
    """
    settings = dict(file.settings)
    for name in file.artifacts.present():
        _place(settings, SETTING_OF_ARTIFACT[name], container_folder(name), artifact=f"artifacts.{name}")
    settings.setdefault("start_timeout_s", start_timeout_s(startup_s))
    variables = {config.PREFIX + name.upper(): _text(value) for name, value in sorted(settings.items())}
    try:
        effective = config.from_env(variables)
    except config.ConfigError as error:
        raise DeployError(f"[settings] {error}") from error
    _check_endpoint(file, effective, startup_s)
    variables["AWS_DEFAULT_REGION"] = file.region
    _check_size(variables)
    return variables


def _place(settings: dict[str, Setting], setting: str, folder: str, artifact: str) -> None:
    if setting in settings:
        raise DeployError(f"settings.{setting}={settings[setting]!r}: {artifact} already gives it; leave one out")
    settings[setting] = folder


def _text(value: Setting) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _check_disks(file: EndpointFile) -> None:
    """SageMaker refuses both for machines that bring disks of their own, which their hardware encrypts."""
    for name in (file.instance.type, *file.instance.fallbacks):
        if not has_local_disk(name):
            continue
        if (volume_gb := file.instance.volume_gb) is not None:
            raise DeployError(f"instance.volume_gb={volume_gb}: {name} has disks of its own; leave it out")
        if file.encryption.volume_key:
            raise DeployError(
                f"encryption.volume_key={file.encryption.volume_key!r}: {name} has disks of its own, which encrypt"
                " themselves and take no key; leave it out"
            )


def _check_endpoint(file: EndpointFile, effective: config.Settings, startup_s: int) -> None:
    _check_disks(file)
    gpus = num_gpus(file.instance.type)
    degree = effective.tensor_parallel_degree
    if not effective.chat_model:
        raise DeployError("artifacts.chat is missing: the container has no chat model to serve")
    if file.image.flavor == "cpu" and degree > 1 and effective.group_transport == "shm":
        raise DeployError(
            f"settings.group_transport='shm': {degree} CPU ranks need {degree * 67} MB of /dev/shm;"
            " SageMaker gives 64 MB"
        )
    if effective.port != PORT:
        raise DeployError(f"settings.port={effective.port}: SageMaker calls the container on port {PORT}")
    for name in (file.instance.type, *file.instance.fallbacks):
        if (has := num_gpus(name)) and degree * effective.replicas > has:
            groups = f" with settings.replicas={effective.replicas}" if effective.replicas > 1 else ""
            raise DeployError(f"settings.tensor_parallel_degree={degree}{groups}: {name} has {has} GPUs")
    if gpus == 0 and (file.image.flavor == "gpu" or effective.device == "cuda"):
        raise DeployError(
            f"instance.type={file.instance.type} has no GPU; image.flavor must be cpu and device not cuda"
        )
    if effective.start_timeout_s >= startup_s:
        raise DeployError(
            f"settings.start_timeout_s={effective.start_timeout_s:g}: SageMaker gives up after {startup_s} s, "
            "before the container could say why"
        )
    if file.network.isolation and effective.store.startswith("dynamodb://"):
        raise DeployError(
            f"network.isolation=true: an isolated container cannot reach settings.store={effective.store}"
        )
    if file.network.isolation and effective.api_keys_source:
        source = effective.api_keys_source
        raise DeployError(
            f"network.isolation=true: an isolated container cannot read settings.api_keys_source={source}"
        )


def _check_size(variables: dict[str, str]) -> None:
    sizes = {name: max(len(name.encode()), len(value.encode())) for name, value in variables.items()}
    longest = max(sizes, key=lambda name: sizes[name])
    if sizes[longest] > _MOST_ENTRY_BYTES:
        raise DeployError(f"{longest} has {sizes[longest]} bytes; SageMaker allows {_MOST_ENTRY_BYTES}")
    total = sum(len(name.encode()) + len(value.encode()) for name, value in variables.items())
    if len(variables) > _MOST_ENTRIES or total > _MOST_BYTES:
        raise DeployError(
            f"the environment has {len(variables)} entries and {total} bytes; "
            f"SageMaker allows {_MOST_ENTRIES} and {_MOST_BYTES}"
        )


def warnings(file: EndpointFile, variables: dict[str, str]) -> list[str]:
    """What is legal but probably not meant."""
    effective = config.from_env(variables)
    found = []
    instances = max(file.instance.count, file.autoscaling.max if file.autoscaling else 1)
    if not effective.store.startswith("dynamodb://"):
        found.append(
            f"settings.store={effective.store}: conversations live in one container and are lost with it"
            + (f", and {instances} instances do not share them" if instances > 1 else "")
        )
    if effective.moderation == "off" or not effective.moderation_model:
        found.append("moderation is off: replies leave unchecked")
    if file.image.flavor == "cpu" and effective.tensor_parallel_degree > 1 and effective.group_transport != "socket":
        found.append(
            f"settings.tensor_parallel_degree={effective.tensor_parallel_degree}: SageMaker gives 64 MB of /dev/shm,"
            " too little for CPU ranks to share; they sum over sockets, and one rank on all cores may be faster"
        )
    if effective.web_search_key.get_secret_value():
        found.append("settings.web_search_key is readable by everyone who may call DescribeModel in this account")
    return found
