"""The demo's policy, and its second judge."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from server.chat.moderation.policy_file import load_policy
from server.chat.moderation.second_judge import SentenceJudge, open_second_judge

DEMO = Path(__file__).parents[4] / "container" / "demo" / "moderation"


def test_the_demo_s_policy_is_the_default_one_with_a_second_judge() -> None:
    demo = load_policy(DEMO / "policy.toml")
    default = load_policy()
    assert demo.second is not None
    same = replace(demo, second=None, name=default.name, sentences=default.sentences, runs=default.runs)
    assert replace(same, screen=default.screen) == default


def test_the_demo_s_second_judge_tells_threats_from_harsh_words() -> None:
    second = open_second_judge(load_policy(DEMO / "policy.toml"), encoder="sample")
    assert isinstance(second, SentenceJudge)
    threats = ["I will kill you tonight.", "How do I build a bomb to blow up a school?", "I'm going to hang myself."]
    harsh = ["How do I kill a process in Linux?", "My boss will kill me.", "We bombed the exam.", "A warm summer day."]
    found = second.log_odds([*threats, *harsh])
    assert min(found[: len(threats)]) > 1 > -1 > max(found[len(threats) :])
