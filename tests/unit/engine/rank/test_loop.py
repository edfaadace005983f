"""Rank 0's loop: what clients ask for comes back as they asked for it, and each request ends once."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace

import pytest

from server import wire
from server.engine.rank import loop
from server.engine.rank.loop import MAX_NONFINITE_IN_A_ROW, NotFiniteError
from server.errors import ErrorCode
from tests.unit.engine.rank.markov import BAD, CLIENT, END, NUM_TOKENS, TOKENIZER, VOCAB, make_leader, run

PROMPTS = [tuple(TOKENIZER.encode(text).ids) for text in ("Hello there, hello", "abcabcab", "A passage: x")]
SAMPLINGS = (
    wire.Sampling(max_new_tokens=60),
    wire.Sampling(max_new_tokens=60, do_sample=True, temperature=0.4, seed=3),
    wire.Sampling(max_new_tokens=60, do_sample=True, temperature=0.5, top_k=5, top_p=0.9, min_p=0.02, seed=4),
    wire.Sampling(max_new_tokens=60, repetition_penalty=1.1),
    wire.Sampling(max_new_tokens=60, frequency_penalty=0.3, presence_penalty=0.2, do_sample=True, seed=5),
    wire.Sampling(max_new_tokens=60, do_sample=True, temperature=0.3, seed=6, min_tokens=50, logit_bias=((END, 9.0),)),
    wire.Sampling(max_new_tokens=60, ignore_eos=True, logit_bias=((END, 90.0),)),
)


def ask_all(
    tmp_path: Path, *, drafts: bool = False, overlaps: bool = False, stop: tuple[str, ...] = ()
) -> tuple[list[object], wire.Status]:
    leader, inbox, _ = make_leader(tmp_path, drafts=drafts, overlaps=overlaps)
    leader.take(CLIENT, wire.Hello())
    said: list[object] = []
    for prompt in PROMPTS:
        for sampling in SAMPLINGS:
            name = str(len(said))
            fields = {field: getattr(sampling, field) for field in sampling.__struct_fields__}
            leader.take(CLIENT, wire.Generate(name, prompt, wire.Sampling(**{**fields, "stop": stop})))
            run(leader)
            said.append((inbox.text_of(name), inbox.end_of(name)))
    leader.send_status()
    [status] = [each for _, each in inbox.messages if isinstance(each, wire.Status)]
    return said, status


def test_replies_are_the_same_with_and_without_drafts_whatever_the_sampling_and_where_they_stop(tmp_path: Path) -> None:
    plain, plain_status = ask_all(tmp_path, drafts=False)
    drafted, status = ask_all(tmp_path, drafts=True)
    assert [(text, end.reason, end.num_new_tokens) for text, end in drafted] == [
        (text, end.reason, end.num_new_tokens) for text, end in plain
    ]
    assert plain_status.drafted_tokens == 0
    assert status.accepted_tokens > 100
    assert status.steps < 0.8 * plain_status.steps
    text = max((text for text, _ in plain), key=len)
    stop = text[20:22]
    stopped, cut = (ask_all(tmp_path, drafts=drafts, stop=(stop,))[0] for drafts in (False, True))
    assert [(text, end.reason, end.num_new_tokens) for text, end in stopped] == [
        (text, end.reason, end.num_new_tokens) for text, end in cut
    ]
    assert any(end.reason == "stop" for _, end in stopped)


def test_replies_are_the_same_when_steps_overlap(tmp_path: Path) -> None:
    plain, overlapped = ask_all(tmp_path)[0], ask_all(tmp_path, overlaps=True)[0]
    assert overlapped == plain


def test_a_reply_under_a_schema_waits_for_its_tokens_when_steps_overlap(tmp_path: Path) -> None:
    said = []
    for overlaps in (False, True):
        leader, inbox, _ = make_leader(tmp_path, overlaps=overlaps)
        sampling = wire.Sampling(max_new_tokens=200, do_sample=True, seed=2, json_schema=json.dumps(SCHEMA))
        leader.take(CLIENT, wire.Generate("a", PROMPTS[0], sampling))
        leader.take(CLIENT, wire.Generate("b", PROMPTS[1], wire.Sampling(max_new_tokens=40)))
        run(leader)
        said.append((inbox.text_of("a"), inbox.text_of("b")))
        json.loads(said[-1][0])
    assert said[0] == said[1]


def test_a_token_that_the_request_names_ends_it_and_is_not_shown(tmp_path: Path) -> None:
    leader, inbox, _ = make_leader(tmp_path, drafts=True)
    sampling = wire.Sampling(max_new_tokens=60, ignore_eos=False)
    leader.take(CLIENT, wire.Generate("whole", PROMPTS[1], sampling))
    run(leader)
    text = inbox.text_of("whole")
    [end] = TOKENIZER.encode(text[-1]).ids
    leader.take(CLIENT, wire.Generate("a", PROMPTS[1], wire.Sampling(max_new_tokens=60, stop_token_ids=(end,))))
    run(leader)
    assert inbox.text_of("a") == text[: text.index(text[-1])]
    finished = inbox.end_of("a")
    assert isinstance(finished, wire.Finished)
    assert finished.reason == "stop"


def test_no_token_without_text_is_sampled(tmp_path: Path) -> None:
    leader, inbox, runner = make_leader(tmp_path)
    leader.take(CLIENT, wire.Generate("a", PROMPTS[0], wire.Sampling(max_new_tokens=30, ignore_eos=True)))
    run(leader)
    end = inbox.end_of("a")
    assert isinstance(end, wire.Finished)
    assert end.num_new_tokens == 30
    tokens = [token for step in runner.steps for each in step.model_steps[0].segments for token in each.tokens]
    assert max(tokens) < NUM_TOKENS < VOCAB


def test_log_probabilities_come_with_the_text_they_belong_to(tmp_path: Path) -> None:
    for drafts in (False, True):
        leader, inbox, runner = make_leader(tmp_path, drafts=drafts)
        sampling = wire.Sampling(
            max_new_tokens=40, ignore_eos=True, logprobs=2, temperature=0.5, do_sample=True, seed=1
        )
        leader.take(CLIENT, wire.Generate("a", PROMPTS[1], sampling))
        run(leader)
        named = [each for piece in inbox.of("a") if isinstance(piece, wire.Piece) for each in piece.logprobs]
        before = PROMPTS[1][-1]
        for each in named:
            own = runner.logits[before, :NUM_TOKENS].log_softmax(-1)
            assert each.chosen.logprob == pytest.approx(float(own[each.chosen.token_id]), abs=1e-5)
            assert [other.token_id for other in each.top] == own.topk(2).indices.tolist()
            before = each.chosen.token_id
        text = b"".join(each.chosen.text for each in named)
        assert text.decode(errors="replace").startswith(inbox.text_of("a").rstrip("\ufffd")[:20])
        assert len(named) >= 38, "half a character at the end has none"


def test_a_request_whose_numbers_are_not_finite_ends_alone(tmp_path: Path) -> None:
    leader, inbox, _ = make_leader(tmp_path)
    for name, prompt in (("good", PROMPTS[0]), ("bad", (*PROMPTS[0], BAD)), ("other", PROMPTS[1])):
        for do_sample in (False, True):
            sampling = wire.Sampling(max_new_tokens=8, do_sample=do_sample, ignore_eos=True)
            leader.take(CLIENT, wire.Generate(f"{name}-{do_sample}", prompt, sampling))
    run(leader)
    for name in ("bad-False", "bad-True"):
        end = inbox.end_of(name)
        assert isinstance(end, wire.Failed)
        assert end.code is ErrorCode.INTERNAL
    assert all(isinstance(inbox.end_of(f"{name}-True"), wire.Finished) for name in ("good", "other"))


def test_a_group_that_gets_no_finite_number_any_more_ends(tmp_path: Path) -> None:
    leader, inbox, _ = make_leader(tmp_path)
    sampling = wire.Sampling(max_new_tokens=4)
    for number in range(3 * MAX_NONFINITE_IN_A_ROW):  # healthy ones between them: nothing is broken but these prompts
        leader.take(CLIENT, wire.Generate(f"bad-{number}", (BAD,), sampling))
        leader.take(CLIENT, wire.Generate(f"good-{number}", PROMPTS[0], sampling))
        run(leader)
    for number in range(MAX_NONFINITE_IN_A_ROW - 1):
        leader.take(CLIENT, wire.Generate(f"worse-{number}", (BAD,), sampling))
        run(leader)
    leader.take(CLIENT, wire.Generate("last", (BAD,), sampling))
    with pytest.raises(NotFiniteError, match=f"{MAX_NONFINITE_IN_A_ROW} requests in a row"):
        run(leader)
    assert isinstance(inbox.end_of("last"), wire.Failed), "it was told all the same"


SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 8},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
        "kind": {"enum": ["cat", "dog"]},
    },
    "required": ["name", "age", "kind"],
    "additionalProperties": False,
}


@pytest.mark.parametrize("seed", range(6))
def test_a_reply_under_a_schema_is_json_that_the_schema_allows(tmp_path: Path, seed: int) -> None:
    leader, inbox, _ = make_leader(tmp_path, drafts=True)
    sampling = wire.Sampling(
        max_new_tokens=200, do_sample=seed > 0, seed=seed, json_schema=json.dumps(SCHEMA), min_tokens=3
    )
    leader.take(CLIENT, wire.Generate("a", PROMPTS[0], sampling))
    run(leader)
    end = inbox.end_of("a")
    assert isinstance(end, wire.Finished)
    assert end.reason == "stop"
    said = json.loads(inbox.text_of("a"))
    assert list(said) == ["name", "age", "kind"]
    assert len(said["name"]) <= 8
    assert 0 <= said["age"] <= 150
    assert said["kind"] in ("cat", "dog")


def test_json_mode_gives_an_object(tmp_path: Path) -> None:
    leader, inbox, runner = make_leader(tmp_path)
    runner.logits[:, TOKENIZER.token_to_id("}")] = 20.0  # where it may end, it does
    leader.take(CLIENT, wire.Generate("a", PROMPTS[0], wire.Sampling(max_new_tokens=90, json_schema="{}")))
    run(leader)
    assert isinstance(json.loads(inbox.text_of("a")), dict)


@pytest.mark.parametrize(
    "schema", ["{", "[1]", '{"type": "nope"}', '{"$ref": "#/nowhere"}', '{"$ref": "http://other/x"}', " " * 70000]
)
def test_a_schema_that_cannot_be_followed_is_refused_by_name(tmp_path: Path, schema: str) -> None:
    leader, inbox, _ = make_leader(tmp_path)
    leader.take(CLIENT, wire.Generate("a", PROMPTS[0], wire.Sampling(json_schema=schema)))
    end = inbox.end_of("a")
    assert isinstance(end, wire.Failed)
    assert end.code is ErrorCode.INVALID_FIELD
    assert "json_schema" in end.message
    assert leader.is_idle


def test_what_is_refused_cancelled_or_stopped_with_the_group_ends_once(tmp_path: Path) -> None:
    leader, inbox, _ = make_leader(tmp_path)
    leader.take(CLIENT, wire.Generate("refused", (), wire.Sampling()))
    for name in ("cancelled", "stopped"):
        leader.take(CLIENT, wire.Generate(name, PROMPTS[0], wire.Sampling(max_new_tokens=300, ignore_eos=True)))
    leader.step()
    leader.take(CLIENT, wire.Cancel("cancelled"))
    leader.step()
    leader.fail_all("the test is over")
    assert leader.is_idle
    assert isinstance(inbox.end_of("refused"), wire.Failed)
    assert inbox.end_of("cancelled") is None, "who cancels wants to hear nothing more"
    stopped = inbox.end_of("stopped")
    assert isinstance(stopped, wire.Failed)
    assert stopped.code is ErrorCode.ENGINE_UNAVAILABLE


def test_a_deadline_returns_what_there_is(tmp_path: Path) -> None:
    leader, inbox, _ = make_leader(tmp_path)
    sampling = wire.Sampling(max_new_tokens=400, ignore_eos=True)
    leader.take(CLIENT, wire.Generate("a", PROMPTS[0], sampling, deadline_s=0.0))
    run(leader)
    end = inbox.end_of("a")
    assert isinstance(end, wire.Finished)
    assert end.reason == "deadline"


def test_a_deadline_cuts_a_drafted_reply_where_a_step_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sampling = wire.Sampling(max_new_tokens=400, ignore_eos=True)
    texts, ends = [], []
    for is_late in (False, True):
        leader, inbox, runner = make_leader(tmp_path, drafts=True)
        leader.take(CLIENT, wire.Generate("a", PROMPTS[0], sampling, deadline_s=1e6))
        for _ in range(25):
            leader.step()
        if is_late:
            monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: math.inf))
        run(leader)
        texts.append(inbox.text_of("a"))
        ends.append(inbox.end_of("a"))
    assert [end.reason for end in ends] == ["length", "deadline"]
    assert texts[0].startswith(texts[1])
    assert len(runner.steps) < ends[1].num_new_tokens < 400  # it was drafted, and cut


def test_what_a_client_asked_ends_when_it_has_gone(tmp_path: Path) -> None:
    leader, inbox, _ = make_leader(tmp_path)
    for client in (b"gone", b"here"):
        leader.take(client, wire.Hello())
        sampling = wire.Sampling(max_new_tokens=100, ignore_eos=True)
        leader.take(client, wire.Generate(client.decode(), PROMPTS[0], sampling))
    leader.step()
    inbox.gone.add(b"gone")
    leader.send_status()
    sent = len(inbox.of("gone"))
    run(leader)
    assert len(inbox.of("gone")) == sent
    assert isinstance(inbox.end_of("here"), wire.Finished)
