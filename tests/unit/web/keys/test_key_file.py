"""The file of keys: made by the verb, read strictly, read again."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from server.config import ConfigError
from server.web.keys.__main__ import main
from server.web.keys.key_file import ApiKey, digest_of, key_line, read_key_file
from server.web.keys.key_ring import LOOK_EVERY_S, KeyRing
from tests.unit.web.keys.made_keys import MadeKeys

DIGEST = digest_of("secret")


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_verb_makes_a_key_that_its_line_knows_and_shows_it_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "keys.jsonl"
    assert main(["alice", "--add", str(path)]) == 0
    assert main(["bob", "--role", "operator", "--tokens-per-minute", "5000", "--add", str(path)]) == 0
    alice, bob = capsys.readouterr().out.split()
    assert path.stat().st_mode & 0o777 == 0o600
    assert alice not in path.read_text()
    assert bob not in path.read_text()
    ring = KeyRing(path)
    assert [ring.find(each).key.name for each in (alice, bob)] == ["alice", "bob"]  # type: ignore[union-attr]
    assert ring.find(alice[:-1]) is ring.find("") is None
    assert read_key_file(path)[1].tokens_per_minute == 5000


def test_the_verb_changes_nothing_where_the_file_would_not_be_read_any_more(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "keys.jsonl"
    main(["alice", "--add", str(path)])
    before = path.read_text()
    for arguments in (["alice"], ["a b"], ["bob", "--role", "king"], ["bob", "--concurrent", "0"]):
        assert main([*arguments, "--add", str(path)]) == 1
    assert path.read_text() == before
    assert list(tmp_path.iterdir()) == [path]
    assert len(capsys.readouterr().out.split()) == 1


def test_two_secrets_are_good_while_one_takes_the_place_of_the_other(tmp_path: Path) -> None:
    path = tmp_path / "keys.jsonl"
    path.write_text(key_line(ApiKey("alice", [DIGEST, digest_of("new")])) + "\n\n# a remark\n")
    ring = KeyRing(path)
    assert ring.find("secret") == ring.find("new") is not None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no key"),
        ("{", "line 1"),
        ('{"name": "a"}', "missing required field `sha256`"),
        ('{"name": "a", "sha256": "abc"}', "line 1"),
        (f'{{"name": "a/b", "sha256": "{DIGEST}"}}', "line 1"),
        (f'{{"name": "a", "sha256": "{DIGEST}", "rate": 3}}', "unknown field `rate`"),
        (f'{{"name": "a", "sha256": "{DIGEST}", "role": "king"}}', "king"),
        (f'{{"name": "a", "sha256": "{DIGEST}", "requests_per_minute": 0}}', "> 0"),
        (f'{{"name": "a", "sha256": "{DIGEST}"}}\n{{"name": "b", "sha256": "{DIGEST}"}}', "twice"),
        (f'{{"name": "a", "sha256": "{DIGEST}"}}\n{{"name": "a", "sha256": "{DIGEST[::-1]}"}}', "name 'a' stands"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_in_one_sentence(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "keys.jsonl"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        KeyRing(path)
    assert f"OCK_API_KEYS='{path}'" in str(caught.value)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        KeyRing(tmp_path / "keys.jsonl")


def test_keys_that_the_file_gains_and_loses_count_within_a_second(keys: MadeKeys) -> None:
    clock = Clock()
    ring = KeyRing(keys.path, clock)
    carol, alice = keys.add("carol"), keys.secrets["alice"]
    keys.remove("alice")
    assert ring.find(carol) is None
    clock.now += LOOK_EVERY_S
    assert ring.find(carol) is not None
    assert ring.find(alice) is None


@pytest.mark.parametrize("broken", ["{", None])
def test_a_file_that_breaks_later_leaves_the_keys_as_they_were(
    keys: MadeKeys, caplog: pytest.LogCaptureFixture, broken: str | None
) -> None:
    ring = KeyRing(keys.path)
    if broken is None:
        keys.path.unlink()
    else:
        keys.path.write_text(broken)
    with caplog.at_level(logging.ERROR):
        ring.reload()
    assert "keys.reload refused, the 3 keys before it stay" in caplog.text
    assert ring.find(keys.secrets["alice"]) is not None
    keys.add("carol")
    ring.reload()
    assert ring.find(keys.secrets["carol"]) is not None
