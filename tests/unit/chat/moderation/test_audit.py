"""What is written down of decisions, and a policy that is read again while the server runs."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from server.chat.assembly import reload_policy
from server.chat.moderation.audit import AuditLog
from server.chat.moderation.classifier import Classifier
from server.chat.moderation.moderator import Moderator
from server.chat.moderation.policy import Role
from server.chat.moderation.policy_file import DEFAULT_POLICY, load_policy
from server.chat.moderation.remembered import HistoryText, HistoryVerdicts
from server.chat.records.turn_records import Judgement
from server.chat.services import Services
from server.config import Settings
from tests.unit.chat.moderation.moderation_doubles import Bytes
from tests.unit.chat.moderation.test_judges import WORDS, Calm

BLOCKED = Judgement("confidential", {}, {}, True, "No.", "names")
DEMO = Path(__file__).parents[4] / "container" / "demo" / "moderation"


@pytest.mark.parametrize(("keeps", "text"), [("hash", None), ("text", "a secret")])
def test_a_line_has_time_request_judge_label_and_the_text_or_its_hash_alone(
    tmp_path: Path, keeps: Any, text: str | None
) -> None:
    path = tmp_path / "audit.jsonl"
    audit = AuditLog(path, keeps, clock=lambda: 12.5)
    audit.note("r1", "input", BLOCKED, "a secret")
    audit.note("r2", "input", Judgement("casual", {}, {}, False), "good morning")
    audit.note("r3", "input", Judgement("casual", {}, {}, False, caution=True), "a secret")
    first, second = map(json.loads, path.read_text().splitlines())
    digest = hashlib.sha256(b"a secret").hexdigest()
    assert first == {
        "time": 12.5, "request": "r1", "role": "input", "judge": "names", "label": "confidential", "decision": "block",
        "text_sha256": digest, **({} if text is None else {"text": text}),
    }  # fmt: skip
    assert (second["request"], second["decision"], second["text_sha256"]) == ("r3", "caution", digest)


def test_without_scores_a_verdict_is_a_label_alone() -> None:
    policy = load_policy()
    classifiers = {Role.INPUT: Classifier.of("m", Bytes(), policy)}
    [verdict] = Moderator(Calm(policy), policy, classifiers, shows_scores=False).judge(["Hello"], Role.INPUT)
    assert (verdict.label, verdict.scores, verdict.log_probs) == ("casual", {}, {})


def test_a_policy_is_read_again_and_a_wrong_one_changes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(DEFAULT_POLICY.read_text("utf-8"), "utf-8")
    policy = load_policy(path)
    moderator = Moderator(Calm(policy), policy, {Role.INPUT: Classifier.of("m", Bytes(), policy)})
    settings = Settings(policy=path, moderation_model=str(DEMO), chat_model=str(DEMO))
    services = Services(settings, None, None, None, policy, moderator)  # type: ignore[arg-type]
    verdicts = HistoryVerdicts(moderator)
    texts = [HistoryText(Role.INPUT, "Project Falcon")]
    assert not verdicts.judge(texts, 5.0)[0].blocked
    path.write_text(f"{DEFAULT_POLICY.read_text('utf-8')}\n{WORDS}", "utf-8")
    reload_policy(services)
    assert verdicts.judge(texts, 5.0)[0].judge == "names"
    for wrong in ("name = [", DEFAULT_POLICY.read_text("utf-8").replace('name = "openchatkit"', 'name = "other"')):
        path.write_text(wrong, "utf-8")
        reload_policy(services)
        assert moderator.judge(["Project Falcon"], Role.INPUT)[0].blocked
    assert caplog.text.count("policy.reload refused") == 2
