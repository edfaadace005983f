"""endpoint.toml: what is legal, and what a mistake is told."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

import deploy
from deploy.errors import DeployError
from deploy.specification import endpoint_file
from deploy.specification.endpoint_file import EndpointFile
from deploy.specification.environment import environment, warnings
from server import config

EXAMPLE = Path(deploy.__file__).with_name("endpoint.example.toml")
LEAST: dict[str, Any] = {
    "name": "talker",
    "region": "eu-west-1",
    "role": "arn:aws:iam::123456789012:role/talker",
    "artifacts": {"chat": {"s3": "s3://models-of-ours/chat/"}},
}


def parse(**changes: Any) -> EndpointFile:
    return endpoint_file.parse({**LEAST, **changes}, Path("/product/endpoint.toml"))


def test_the_example_is_legal_and_its_environment_starts_the_container():
    file = endpoint_file.read(EXAMPLE)
    effective = config.from_env({k: v for k, v in environment(file, 3600).items() if k.startswith("OCK_")})
    assert effective.tensor_parallel_degree == 4
    assert warnings(file, environment(file, 3600)) == []


def test_the_example_names_every_key_there_is():
    """Keys that are off by default stand in it as comments."""
    text = EXAMPLE.read_text()
    for table, field in EndpointFile.model_fields.items():
        assert table in text, table
        annotation = field.annotation
        for option in (annotation, *getattr(annotation, "__args__", ())):
            for key in getattr(option, "model_fields", {}):
                assert key in text, f"{table}.{key}"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"regon": "eu-west-1"},
            "regon is not a key; did you mean region? Legal here: artifacts, asynchronous, auto",
        ),
        ({"image": {"flavour": "gpu"}}, "image.flavour is not a key; did you mean flavor?"),
        ({"artifacts": {"chat": {"folder": "x"}}}, "artifacts.chat.s3 is missing"),
        ({"artifacts": {"chat": {"s3": "s3://models/chat"}}}, "artifacts.chat.s3='s3://models/chat': String should"),
        ({"region": "Ireland"}, "region='Ireland': String should match"),
        ({"network": {"subnets": ["subnet-1"]}}, "network needs both subnets and security_groups"),
        ({"autoscaling": {"min": 3, "max": 2}}, "autoscaling.min=3 is above autoscaling.max=2"),
        ({"metrics": {"period_s": 45}}, "metrics.period_s=45: Input should be 10, 30, 60"),
        ({"name": "-talker"}, "name='-talker': String should match"),
    ],
)
def test_a_mistake_is_named_with_what_is_legal(changes, sentence):
    with pytest.raises(DeployError) as caught:
        parse(**changes)
    assert str(caught.value).startswith("/product/endpoint.toml: ")
    assert sentence in str(caught.value)


def test_folders_are_relative_to_the_file():
    file = parse(artifacts={"chat": {"s3": "s3://models-of-ours/chat/", "folder": "packaged/chat"}})
    assert file.artifacts.chat is not None
    assert file.artifacts.chat.folder == Path("/product/packaged/chat")


def test_a_missing_file_points_to_the_example(tmp_path):
    with pytest.raises(DeployError, match=r"endpoint\.example\.toml"):
        endpoint_file.read(tmp_path / "endpoint.toml")


def test_text_that_is_not_toml_is_named(tmp_path):
    path = tmp_path / "endpoint.toml"
    path.write_text("name =")
    with pytest.raises(DeployError, match="not TOML"):
        endpoint_file.read(path)
    with pytest.raises(tomllib.TOMLDecodeError):
        tomllib.loads("name =")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"artifacts": {}}, "the container has no chat model to serve"),
        ({"settings": {"port": 9000}}, "SageMaker calls the container on port 8080"),
        ({"settings": {"chat_model": "some/model"}}, "artifacts.chat already gives it"),
        ({"settings": {"max_queue": 0}}, "OCK_MAX_QUEUE='0'"),
        ({"settings": {"tensor_parallel_degree": 8}}, "ml.g5.12xlarge has 4 GPUs"),
        ({"settings": {"start_timeout_s": 4000}}, "SageMaker gives up after 3600 s"),
        ({"instance": {"type": "ml.m5.xlarge"}}, "has no GPU; image.flavor must be cpu"),
        ({"settings": {"model_name": "x" * 2000}}, "OCK_MODEL_NAME has 2000 bytes; SageMaker allows 1024"),
        (
            {"network": {"isolation": True}, "settings": {"store": "dynamodb://talks"}},
            "network.isolation=true: an isolated container cannot reach settings.store=dynamodb://talks",
        ),
    ],
)
def test_a_setting_that_an_endpoint_cannot_have_is_refused(changes, sentence):
    with pytest.raises(DeployError) as caught:
        environment(parse(**changes), 3600)
    assert sentence in str(caught.value)


def test_a_truth_value_is_written_as_the_container_reads_it():
    variables = environment(parse(settings={"require_session": True}), 3600)
    assert variables["OCK_REQUIRE_SESSION"] == "true"


def test_legal_but_doubtful_choices_are_warned_of():
    file = parse(settings={"moderation": "off", "web_search_key": "k"}, autoscaling={"max": 3})
    said = " ".join(warnings(file, environment(file, 3600)))
    assert "conversations live in one container" in said
    assert "3 instances do not share them" in said
    assert "moderation is off" in said
    assert "web_search_key is readable" in said
