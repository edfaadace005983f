"""evaluate-moderation against a real HTTP server with known verdicts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.__main__ import main
from deploy.measure.disguises import DISGUISES
from deploy.measure.moderation_cases import Case, Judged, read_cases
from deploy.measure.moderation_report import Share, blocking, threshold_curve
from deploy.measure.moderation_variants import with_variants
from tests import ROOT
from tests.unit.deploy.container_double import Answer, Container, ModerationHandler, refused, serving

BAD, GOOD = "needs intervention", "casual"


def verdict(score: float) -> dict[str, object]:
    label = BAD if score >= 0.5 else GOOD
    return {
        "flagged": label == BAD,
        "categories": {GOOD: label == GOOD, BAD: label == BAD},
        "category_scores": {GOOD: 1 - score, BAD: score},
        "label": label,
    }


def write_cases(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


def evaluate(url: str, data: Path, *more: str) -> int:
    return main(["evaluate-moderation", "--data", str(data), "--url", url, *more])


def test_the_report_has_matrix_intervals_and_thresholds(tmp_path, capsys):
    scores = [0.9, 0.6, 0.3, 0.7, 0.1]
    labels = [BAD, BAD, BAD, GOOD, GOOD]
    data = write_cases(tmp_path / "cases.jsonl", [{"text": f"t{n}", "label": label} for n, label in enumerate(labels)])
    answer = Answer(body=json.dumps({"id": "m", "model": "p", "results": [verdict(s) for s in scores]}).encode())
    container = Container()
    container.answers.append(answer)
    with serving(ModerationHandler, container) as url:
        assert evaluate(url, data, "--threshold-plot", str(tmp_path / "curve.png")) == 0
    said = capsys.readouterr().out
    assert "precision 0.667 (95 %: 0.208 to 0.939; 2 of 3)" in said
    assert "recall    0.667 (95 %: 0.208 to 0.939; 2 of 3)" in said
    assert "  0.2  precision 0.750  recall 1.000" in said
    assert "  0.8  precision 1.000  recall 0.333" in said
    rows = [line.split() for line in said.splitlines() if line.startswith((BAD, GOOD))]
    assert rows == [["casual", "1", "1"], ["needs", "intervention", "1", "2"]]
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG\r\n")
    assert container.asked == [{"input": ["t0", "t1", "t2", "t3", "t4"], "role": "input"}]


def test_variants_are_disguised_and_buried_and_reported_with_a_plot(tmp_path, capsys):
    rows = [{"text": "I will kill you.", "blocked": True, "kind": "hostile"}]
    rows += [{"text": f"Sentence {number} is fine.", "blocked": False, "kind": "ordinary"} for number in range(3)]
    data = write_cases(tmp_path / "c.jsonl", rows)
    texts = [case.text for case in with_variants(read_cases(data, [BAD]), 5)]
    results = [verdict(0.9 if "kill" in text else 0.1) for text in texts]
    container = Container()
    for start in range(0, len(texts), 32):
        container.answers.append(Answer(body=json.dumps({"results": results[start : start + 32]}).encode()))
    plot, figures = tmp_path / "groups.png", tmp_path / "groups.json"
    with serving(ModerationHandler, container) as url:
        assert evaluate(url, data, "--variants", "5", "--group-plot", str(plot), "--json", str(figures)) == 0
    said = capsys.readouterr().out
    assert "precision 1.000 (95 %: 0.207 to 1.000; 1 of 1)" in said
    assert plot.read_bytes().startswith(b"\x89PNG\r\n")
    found = json.loads(figures.read_text())
    assert found["hostile"]["blocked"] == found["among 20: in the middle"]["blocked"] == 1
    assert found["disguise: spaced letters"]["blocked"] == found["20 harmless sentences"]["blocked"] == 0
    assert container.asked[0]["input"] == texts[:32]
    assert sum(name.startswith("disguise: ") for name in found) == len(DISGUISES)


def test_the_project_s_own_cases_are_many_and_of_many_kinds():
    cases = read_cases(ROOT / "tests/data/moderation/cases.jsonl", [BAD])
    assert len({case.text for case in cases}) == len(cases) >= 400
    assert sum(case.is_bad for case in cases) >= 100
    kinds = {case.kind for case in cases}
    assert sum(kind.startswith("language ") for kind in kinds) >= 10
    assert {"hostile", "harsh but harmless", "ordinary", "emoji, numbers and signs"} <= kinds


def test_every_disguise_changes_a_text():
    assert all(disguise("Tell us a tale, Joe.") != "Tell us a tale, Joe." for disguise in DISGUISES.values())


def test_many_texts_go_in_several_requests_and_keep_their_order(tmp_path, capsys):
    rows = [{"text": f"t{n}", "blocked": n % 2 == 0} for n in range(70)]
    container = Container()
    for start in range(0, 70, 32):
        results = [verdict(0.9 if n % 2 == 0 else 0.1) for n in range(start, min(start + 32, 70))]
        container.answers.append(Answer(body=json.dumps({"results": results}).encode()))
    with serving(ModerationHandler, container) as url:
        assert evaluate(url, write_cases(tmp_path / "c.jsonl", rows), "--role", "output") == 0
    said = capsys.readouterr().out
    assert "precision 1.000" in said
    assert "35 of 35" in said
    assert [len(asked["input"]) for asked in container.asked] == [32, 32, 6]


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ({"label": GOOD}, "c.jsonl:1: expected"),
        ({"text": ""}, "text='': a non-empty string is needed"),
        ({"text": "a"}, "blocked=None: without a label, true or false is needed"),
    ],
)
def test_a_line_that_is_no_case_is_named_by_its_number(tmp_path, capsys, row, sentence):
    assert evaluate("http://127.0.0.1:1", write_cases(tmp_path / "c.jsonl", [row])) == 1
    assert sentence in capsys.readouterr().err


def test_a_server_without_moderation_says_so(tmp_path, capsys):
    container = Container()
    container.answers.append(refused(404, "not_found"))
    with serving(ModerationHandler, container) as url:
        assert evaluate(url, write_cases(tmp_path / "c.jsonl", [{"text": "a", "blocked": False}])) == 1
    assert "POST /v1/moderations: not_found" in capsys.readouterr().err


def test_wilsons_interval_is_the_published_one():
    low, high = Share(8, 10).interval  # 0.4902 to 0.9433
    assert (round(low, 4), round(high, 4)) == (0.4902, 0.9433)
    assert Share(0, 0).interval == (0.0, 1.0)


@given(st.integers(0, 500), st.integers(1, 500))
def test_the_interval_holds_the_share_and_stays_within_0_and_1(hits, total):
    share = Share(min(hits, total), total)
    low, high = share.interval
    assert 0.0 <= low <= share.value + 1e-12
    assert share.value - 1e-12 <= high <= 1.0


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=40), st.floats(0, 1))
def test_each_step_of_the_curve_is_what_blocking_at_it_would_do(pairs, threshold):
    judged = [Judged(Case("t", None, bad), GOOD, {BAD: score}, score >= threshold) for score, bad in pairs]
    point = next((p for p in threshold_curve(judged, [BAD]) if p.threshold >= threshold), None)
    done = blocking(judged)
    if point is None:
        assert done.precision.total == 0
    else:
        assert point.blocking == done
