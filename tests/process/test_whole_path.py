"""One request's whole path on real parts: gunicorn, two DeepSpeed ranks, the Wikipedia index, SQLite."""

from __future__ import annotations

import http.client
import json
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import openai
import pytest
from playwright.sync_api import BrowserContext, expect

from deploy.client import ChatClient
from deploy.measure.turn_load import Asking, conversation
from tests.process.stack import ROOT, Stack

THREAT = "I will kill you tonight"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    server = Stack(tmp_path_factory.mktemp("stack"))
    server.start()
    yield server
    server.kill()


@pytest.mark.parametrize(
    ("question", "title", "words"),
    [("Who was Abraham Lincoln?", "Abraham Lincoln", "Lincoln"), ("What is albedo?", "Albedo", "lbedo")],
)
def test_a_question_is_answered_from_the_right_article(stack: Stack, question: str, title: str, words: str) -> None:
    record = stack.ask(question)
    assert record["finish_reason"] == "stop"
    assert record["sources"][0]["title"] == title
    assert words in record["outputs"]
    assert record["sources"][0]["text"]
    assert record["moderation"]["input"]["label"]
    assert record["moderation"]["output"]["label"]
    assert record["usage"]["prompt_tokens"] > record["usage"]["completion_tokens"] > 0


def test_small_talk_is_answered_without_a_source(stack: Stack) -> None:
    record = stack.ask("Good morning")
    assert record["sources"] == []
    assert record["outputs"].strip()
    assert record["finish_reason"] == "stop"


def test_no_retrieval_means_no_source(stack: Stack) -> None:
    assert stack.ask("Who was Abraham Lincoln?", no_retrieval=True)["sources"] == []


def test_a_threat_gets_the_override_message(stack: Stack) -> None:
    record = stack.ask(THREAT)
    assert record["finish_reason"] == "moderated_input"
    assert record["outputs"] == "Unfortunately I am unable to provide any information about this topic"
    assert record["moderation"]["input"]["label"] == "needs intervention"
    assert record["usage"]["completion_tokens"] == 0


def test_a_list_gives_a_list(stack: Stack) -> None:
    status, records = stack.post("/invocations", {"inputs": ["Good morning", THREAT, "What is albedo?"]})
    assert status == 200
    assert [record["finish_reason"] for record in records] == ["stop", "moderated_input", "stop"]


def test_the_second_turn_s_prompt_holds_the_first_turn(stack: Stack) -> None:
    first = stack.ask("Who was Abraham Lincoln?")
    second = stack.ask("Thank you!", session_id=first["session_id"])
    added = second["usage"]["prompt_tokens"] - first["usage"]["prompt_tokens"]
    assert added >= first["usage"]["completion_tokens"]
    assert second["usage"]["cached_tokens"] > first["usage"]["prompt_tokens"] // 2
    status, session = stack.get(f"/sessions/{first['session_id']}")
    assert status == 200
    assert [turn["user"] for turn in session["turns"]] == ["Who was Abraham Lincoln?", "Thank you!"]
    assert [turn["reply"] for turn in session["turns"]] == [first["outputs"], second["outputs"]]


def test_a_streamed_answer_is_the_whole_answer_in_pieces(stack: Stack) -> None:
    whole = stack.ask("What is albedo?")
    lines = list(stack.stream_lines({"inputs": "What is albedo?", "stream": True}))
    record = lines[-1]
    assert "".join(piece for line in lines[:-1] for piece in line["outputs"]) == record["outputs"] == whole["outputs"]
    assert record["moderation"]["output"]["label"] == whole["moderation"]["output"]["label"]


def test_a_streamed_threat_is_not_answered(stack: Stack) -> None:
    lines = list(stack.stream_lines({"inputs": THREAT, "stream": True}))
    assert lines[-1]["finish_reason"] == "moderated_input"


def test_a_seed_gives_the_same_text_alone_and_in_a_crowd(stack: Stack) -> None:
    parameters = {"do_sample": True, "temperature": 1.0, "top_k": 50, "seed": 7, "no_retrieval": True}

    def ask(seed: int) -> str:
        return str(stack.ask("Tell me a joke", **{**parameters, "seed": seed})["outputs"])

    alone = ask(7)
    with ThreadPoolExecutor(6) as pool:
        crowd = list(pool.map(ask, (7, 8, 9, 10, 11, 7)))
    assert crowd[0] == crowd[-1] == alone


def test_openai_s_route_answers_and_is_moderated(stack: Stack) -> None:
    body = {"model": "", "messages": [{"role": "user", "content": "Good morning"}]}
    status, answer = stack.post("/v1/chat/completions", body)
    assert status == 200
    assert answer["choices"][0]["message"]["content"].strip()
    body["messages"][0]["content"] = THREAT
    status, answer = stack.post("/v1/chat/completions", body)
    assert status == 200
    assert answer["choices"][0]["finish_reason"] == "content_filter"


@pytest.fixture(scope="module")
def openai_client(stack: Stack) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{stack.url}/v1", api_key="none", max_retries=0) as client:
        yield client


LINCOLN: Any = {"model": "", "messages": [{"role": "user", "content": "Who was Abraham Lincoln?"}], "temperature": 0}
PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 12},
        "age": {"type": "integer", "minimum": 1, "maximum": 99},
    },
    "required": ["name", "age"],
    "additionalProperties": False,
}


def test_a_reply_is_json_of_the_schema_that_the_client_gives(openai_client: openai.OpenAI) -> None:
    asked: Any = {"type": "json_schema", "json_schema": {"name": "person", "strict": True, "schema": PERSON}}
    said = openai_client.chat.completions.create(**LINCOLN, response_format=asked, max_tokens=200).choices[0]
    assert said.finish_reason == "stop"
    person = json.loads(said.message.content or "")
    assert set(person) == {"name", "age"}
    assert 1 <= person["age"] <= 99
    anything = openai_client.chat.completions.create(**LINCOLN, response_format={"type": "json_object"}).choices[0]
    assert (anything.message.content or "").startswith("{")
    assert anything.finish_reason == "length" or isinstance(json.loads(anything.message.content or ""), dict)


def test_log_probabilities_are_of_the_tokens_that_were_said(openai_client: openai.OpenAI) -> None:
    said = openai_client.chat.completions.create(**LINCOLN, logprobs=True, top_logprobs=4, max_tokens=8).choices[0]
    assert said.logprobs is not None
    tokens = said.logprobs.content or []
    assert "".join(each.token for each in tokens).strip() == said.message.content
    for each in tokens:
        assert each.top_logprobs[0].token == each.token  # what is not drawn is the most probable
        assert [other.logprob for other in each.top_logprobs] == sorted(
            (other.logprob for other in each.top_logprobs), reverse=True
        )
        assert each.logprob <= 0


def test_a_reply_goes_on_from_the_words_that_the_client_began(openai_client: openai.OpenAI) -> None:
    whole = openai_client.chat.completions.create(**LINCOLN, max_tokens=16).choices[0].message.content or ""
    begun, rest = whole[: len(whole) // 2].rsplit(" ", 1)[0], ""
    messages = [*LINCOLN["messages"], {"role": "assistant", "content": begun}]
    rest = (
        openai_client.chat.completions.create(
            model="", messages=messages, temperature=0, max_tokens=16, extra_body={"continue_final_message": True}
        )
        .choices[0]
        .message.content
        or ""
    )
    assert (begun + rest).startswith(whole[: len(begun) + 8])


def test_several_replies_are_those_of_their_seeds_and_penalties_change_them(openai_client: openai.OpenAI) -> None:
    asked: Any = {"model": "", "prompt": "Once upon a time", "temperature": 2, "n": 3, "seed": 11, "max_tokens": 12}
    first, again = (openai_client.completions.create(**asked).choices for _ in range(2))
    assert [each.text for each in first] == [each.text for each in again]
    assert len({each.text for each in first}) == 3
    plain = openai_client.completions.create(model="", prompt="Once upon", temperature=0, max_tokens=24).choices[0]
    fined = openai_client.completions.create(
        model="", prompt="Once upon", temperature=0, max_tokens=24, frequency_penalty=2, presence_penalty=2
    ).choices[0]  # fmt: skip
    assert plain.text != fined.text


def test_a_benchmark_gets_as_many_tokens_as_it_asks_for_and_counts_them_on_the_way(
    openai_client: openai.OpenAI,
) -> None:
    asked: Any = {**LINCOLN, "max_tokens": 40, "extra_body": {"ignore_eos": True}}
    options: Any = {"include_usage": True, "continuous_usage_stats": True}
    chunks = list(openai_client.chat.completions.create(**asked, stream=True, stream_options=options))
    counts = [each.usage.completion_tokens for each in chunks if each.usage is not None]
    assert counts == sorted(counts)
    assert counts[-1] == 40
    assert chunks[-2].choices[0].finish_reason == "length"
    assert all(each.usage for each in chunks if each.choices and each.choices[0].delta.content)


def test_vectors_come_as_numbers_and_as_base64_alike(openai_client: openai.OpenAI) -> None:
    plain = openai_client.embeddings.create(model="", input=["a cat", "a dog"], encoding_format="float")
    packed = openai_client.embeddings.create(model="", input=["a cat", "a dog"])  # base64, which the client unpacks
    for one, other in zip(plain.data, packed.data, strict=True):
        assert one.embedding == pytest.approx(other.embedding, abs=1e-5)
    assert sum(number * number for number in plain.data[0].embedding) == pytest.approx(1, abs=1e-3)


def test_search_finds_passages(stack: Stack) -> None:
    status, found = stack.post("/search", {"query": "Who was Abraham Lincoln?", "k": 3})
    assert status == 200
    assert found["results"][0]["title"] == "Abraham Lincoln"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b'{"inputs": "a", "inputs": "b"}', 400),
        (b'{"inputs": 5}', 400),
        (b'{"inputs": "  "}', 400),
        (b'{"inputs": "\\ud800"}', 400),
        (b'{"inputs": "\xff"}', 400),
        (b'{"inputs": "a", "parameters": {"temperature": NaN}}', 400),
        (b'{"inputs": "a", "parameters": {"tempreature": 1}}', 400),
        (b'{"inputs": "a", "parameters": {"session_id": "../../etc"}}', 400),
        (b"[" * 100_000, 400),
        (b'{"inputs": "' + b"word " * 20_000 + b'"}', 400),
    ],
)
def test_a_bad_request_gets_one_clear_error_and_the_next_good_one_an_answer(
    stack: Stack, body: bytes, status: int
) -> None:
    found, answer = stack.post("/invocations", body)
    assert found == status
    assert answer["error"]["message"]
    assert answer["error"]["request_id"]
    assert stack.ask("Good morning")["outputs"]


def test_the_wrong_content_type_is_refused_by_name(stack: Stack) -> None:
    status, answer = stack.post("/invocations", b"<a/>", **{"Content-Type": "text/xml"})
    assert status == 415
    assert "application/json" in answer["error"]["message"]


def test_the_page_shows_answer_source_and_verdicts_and_restores_them(stack: Stack, context: BrowserContext) -> None:
    page = context.new_page()
    page.goto(f"{stack.url}/")
    page.locator("#question").fill("What is albedo?")
    page.keyboard.press("Enter")
    turn = page.locator("#turns > li")
    expect(turn.locator(".facts li").first).to_have_text("complete")
    expect(turn.locator(".reply")).to_contain_text("lbedo")
    turn.locator("summary").click()
    expect(turn.get_by_role("link", name="Albedo").first).to_be_visible()
    reply = turn.locator(".reply").text_content()
    page.reload()
    expect(turn.locator(".reply")).to_have_text(reply or "")


def test_a_body_over_the_limit_is_refused_before_it_is_read(stack: Stack) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", stack.port, timeout=30)
    connection.putrequest("POST", "/invocations")
    connection.putheader("Content-Type", "application/json")
    connection.putheader("Content-Length", str(2**40))
    connection.endheaders(b'{"inputs": "')
    with closing(connection):
        response = connection.getresponse()
        assert response.status == 413
        assert json.loads(response.read())["error"]["code"] == "body_too_large"


def test_a_conversation_of_500_turns_stays_within_the_window_and_reuses_its_prompts(stack: Stack) -> None:
    asking = Asking(stream=True, parameters={"max_new_tokens": 48})
    found = conversation(ChatClient(stack.url), 500, asking, lambda _done: None)
    assert found["last_turn"] == 500
    window = json.loads((ROOT / "container/demo/chat/config.json").read_text("utf-8"))["max_position_embeddings"]
    assert window / 2 < found["prompt_tokens_max"] <= window - 48
    assert found["cached_share"] >= 0.7
    # The date in the prompt makes every run's words its own: some are blocked, some replies repeat themselves until
    # their limit. How many is said in the model's card.
    reasons = found["finish_reasons"]
    assert set(reasons) <= {"stop", "length", "moderated_output", "moderated_input"}
    # The demo's small judge takes one of the eight questions for a threat; its card says how often it is wrong.
    assert reasons.get("moderated_input", 0) <= 500 / 8 + 1
    assert reasons["stop"] > 100  # 250 to 460 have been seen, by the time of day in the prompt


def test_ranks_are_told_apart_in_ps(stack: Stack) -> None:
    for rank in (0, 1):
        assert len(stack.pids(f"server.engine.rank --rank {rank}")) == 1


@pytest.mark.parametrize("rank", [0, 1])
def test_a_stopped_rank_fails_ping_until_it_goes_on(stack: Stack, rank: int) -> None:
    [pid] = stack.pids(f"server.engine.rank --rank {rank}")
    os.kill(pid, signal.SIGSTOP)
    try:
        stack.wait_until(
            lambda: stack.get("/ping?detail=1")[1]["status"] == "rank silent", "word of the stopped rank", 30
        )
    finally:
        os.kill(pid, signal.SIGCONT)
    stack.wait_until(stack.is_up, "an answer of 200 after the rank went on", 30)
    assert stack.ask("Who was Abraham Lincoln?")["outputs"]


def test_a_killed_rank_ends_its_requests_and_the_group_comes_back(stack: Stack) -> None:
    session = stack.ask("Good morning")["session_id"]
    [rank] = stack.pids("server.engine.rank --rank 1")
    with ThreadPoolExecutor(1) as pool:
        body = {"inputs": "Tell me a joke", "parameters": {"max_new_tokens": 400, "do_sample": True, "seed": 1}}
        pending = pool.submit(stack.post, "/invocations", body)
        os.kill(rank, signal.SIGKILL)
        status, answer = pending.result(60)
    assert status in (200, 503), answer
    stack.wait_until(lambda: stack.pids("server.engine.rank --rank 1") not in ([], [rank]), "new rank 1")
    stack.wait_until(stack.is_up, "a group that is back")
    assert stack.ask("Thank you!", session_id=session)["turn"] == 2


def test_a_conversation_survives_kill_and_start(tmp_path: Path) -> None:
    server = Stack(tmp_path)
    try:
        server.start()
        first = server.ask("What is albedo?")
        server.kill()
        server.start()
        second = server.ask("Thank you!", session_id=first["session_id"])
        assert second["turn"] == 2
        assert second["usage"]["prompt_tokens"] > first["usage"]["prompt_tokens"]
        assert server.stop() == 0
    finally:
        server.kill()


def test_a_taken_port_and_a_missing_model_stop_the_start_with_one_sentence(stack: Stack, tmp_path: Path) -> None:
    for settings, words in (
        ({"OCK_PORT": str(stack.port)}, f"OCK_PORT={stack.port}"),
        ({"OCK_CHAT_MODEL": str(tmp_path / "nowhere")}, "nowhere"),
        ({"OCK_INDEX": str(tmp_path / "noindex")}, "noindex"),
        ({"OCK_PROT": "1"}, "OCK_PROT"),
        ({"OCK_DTYPE": "fp8"}, "OCK_DTYPE"),
    ):
        folder = tmp_path / words.replace("/", "_")
        folder.mkdir()
        server = Stack(folder, **settings)
        server.launch()
        assert server.wait_exit(60) != 0
        assert words in server.log.strip().splitlines()[-1]
        server.kill()


def test_metrics_count_what_was_asked(stack: Stack) -> None:
    stack.ask("Good morning")
    _, text = stack.get("/metrics")
    assert "moderation_enabled 1" in text.replace("openchatkit_", "").replace("ock_", "")
    assert text.startswith("#")
