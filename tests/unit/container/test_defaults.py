from __future__ import annotations

from pathlib import Path

import pytest

from container.defaults import Places, with_defaults, with_mounts


@pytest.fixture
def places(tmp_path: Path) -> Places:
    for role in ("chat", "moderation", "index", "encoder"):
        put(tmp_path / "demo" / role)
    return Places(tmp_path / "ml", tmp_path / "demo")


def put(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")


def test_with_nothing_named_or_mounted_the_demo_is_served(places: Places) -> None:
    assert with_defaults({}, places) == {
        "OCK_CHAT_MODEL": str(places.demo / "chat"),
        "OCK_MODERATION_MODEL": str(places.demo / "moderation"),
        "OCK_INDEX": str(places.demo / "index"),
        "OCK_ENCODER": str(places.demo / "encoder"),
        "OCK_SEARCH_WINDOW": "0",
        "OCK_MAX_NEW_TOKENS": "96",
    }


def test_the_demo_s_policy_comes_with_its_moderation_model_and_encoder_alone(places: Places) -> None:
    policy = places.demo / "moderation" / "policy.toml"
    policy.write_text("")
    assert with_defaults({}, places)["OCK_POLICY"] == str(policy)
    assert with_defaults({"OCK_POLICY": "mine.toml"}, places)["OCK_POLICY"] == "mine.toml"
    for name in ("OCK_MODERATION_MODEL", "OCK_ENCODER", "OCK_CHAT_MODEL"):
        assert "OCK_POLICY" not in with_defaults({name: "/mine"}, places)


def test_what_suits_the_demo_gives_way_to_what_is_set(places: Places) -> None:
    assert with_defaults({"OCK_MAX_NEW_TOKENS": "12"}, places)["OCK_MAX_NEW_TOKENS"] == "12"


def test_parts_of_the_demo_never_join_a_chat_model_of_the_users(places: Places) -> None:
    assert with_defaults({"OCK_CHAT_MODEL": "/mine"}, places) == {"OCK_CHAT_MODEL": "/mine"}


def test_a_demo_part_that_is_set_to_nothing_stays_off(places: Places) -> None:
    assert with_defaults({"OCK_INDEX": ""}, places)["OCK_INDEX"] == ""


def test_an_empty_chat_model_counts_as_not_set(places: Places) -> None:
    assert with_defaults({"OCK_CHAT_MODEL": ""}, places)["OCK_CHAT_MODEL"] == str(places.demo / "chat")


def test_a_mounted_checkpoint_is_the_chat_model_without_the_demo(places: Places) -> None:
    put(places.ml_root / "model")
    assert with_defaults({}, places) == {"OCK_CHAT_MODEL": str(places.ml_root / "model")}


def test_an_empty_chat_model_does_not_hide_the_mounted_one(places: Places) -> None:
    put(places.ml_root / "model")
    assert with_defaults({"OCK_CHAT_MODEL": ""}, places) == {"OCK_CHAT_MODEL": str(places.ml_root / "model")}


def test_mounts_alone_bring_in_no_demo_and_no_port(places: Places) -> None:
    put(places.ml_root / "model" / "index")
    found = {"SAGEMAKER_BIND_TO_PORT": "9000", "OCK_INDEX": str(places.ml_root / "model" / "index")}
    assert with_mounts({"SAGEMAKER_BIND_TO_PORT": "9000"}, places) == found


def test_subfolders_and_channels_take_the_role_they_are_named_after(places: Places) -> None:
    channels = places.ml_root / "additional-model-data-sources"
    put(places.ml_root / "model" / "chat")
    put(channels / "moderation")
    put(channels / "index")
    put(channels / "something_else")
    assert with_defaults({}, places) == {
        "OCK_CHAT_MODEL": str(places.ml_root / "model" / "chat"),
        "OCK_MODERATION_MODEL": str(channels / "moderation"),
        "OCK_INDEX": str(channels / "index"),
    }


def test_the_platforms_port_is_taken_unless_one_is_set(places: Places) -> None:
    assert with_defaults({"SAGEMAKER_BIND_TO_PORT": "9000"}, places)["OCK_PORT"] == "9000"
    both = {"SAGEMAKER_BIND_TO_PORT": "9000", "OCK_PORT": "9001"}
    assert with_defaults(both, places)["OCK_PORT"] == "9001"
