"""On real texts the label of one forward pass is what the model writes when it may write nothing but labels."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pytest
import torch
from transformers import AutoModelForCausalLM

from container.demo.data.moderation_data import Phrases
from server import wire
from server.chat.moderation.classifier import Classifier
from server.chat.moderation.moderator import Moderator
from server.chat.moderation.parts import parts_to_judge
from server.chat.moderation.policy import Role
from server.chat.moderation.policy_file import load_policy
from server.chat.prompt.tokenizer import ChatTokenizer
from server.chat.text.lookalikes import plain
from tests.process.engine.engine_group import ROOT, EngineGroup

MODEL = ROOT / "container/demo/moderation"
POLICY = load_policy()
GROUPS = ("intervention", "caution", "probably", "possibly", "casual")
NUM_PHRASES, NUM_PASSAGES = 120, 120


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return Classifier.of(wire.INPUT_MODERATION, ChatTokenizer.from_folder(MODEL), POLICY)


@pytest.fixture(scope="module")
def moderator(classifier: Classifier, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moderator]:
    group = EngineGroup(MODEL, 2, tmp_path_factory.mktemp("labels"), OCK_DTYPE="float32")
    try:
        group.wait_ready()
        yield Moderator(group.client, POLICY, {Role.INPUT: classifier})
    finally:
        group.close()


def texts() -> list[str]:
    """Threats, insults and harmless phrases, and the beginnings of Wikipedia's passages."""
    rng, phrases = random.Random(1), Phrases()
    with pa.memory_map(str(ROOT / ".demo/index/passages.arrow")) as source:
        passages = pa.ipc.open_file(source).read_all()["text"].to_pylist()
    groups = [group for group in GROUPS for _ in range(NUM_PHRASES // len(GROUPS))]
    written = [_judged_whole(lambda group=group: phrases.draw(group, rng).text) for group in groups]
    return [*written, *(_judged_whole(lambda: rng.choice(passages)[:80]) for _ in range(NUM_PASSAGES))]


def _judged_whole(draw: Callable[[], str]) -> str:
    """A text that is judged as it is alone: one sentence with one reading."""
    while parts_to_judge(text := draw()) != [plain(text)]:
        pass
    return text


@torch.inference_mode()
def written_label(model: Any, request: wire.Score) -> int:
    """The candidate that greedy generation writes when only tokens of candidates are allowed."""
    prompt = [*request.prefix, *request.text, *request.closing]

    def allowed(_: int, ids: torch.Tensor) -> list[int]:
        done = tuple(ids[len(prompt) :].tolist())
        return sorted({each[len(done)] for each in request.candidates if each[: len(done)] == done and each != done})

    ids = torch.tensor([prompt])
    longest = max(map(len, request.candidates))
    found = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=longest,
        do_sample=False,
        pad_token_id=0,
        eos_token_id=[each[-1] for each in request.candidates],
        prefix_allowed_tokens_fn=allowed,
    )
    return request.candidates.index(tuple(found[0, len(prompt) :].tolist()))


def test_240_texts_get_the_label_that_constrained_generation_writes(
    moderator: Moderator, classifier: Classifier
) -> None:
    model = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32).eval()
    asked = texts()
    assert len(asked) == NUM_PHRASES + NUM_PASSAGES
    judgements = [
        each for start in range(0, len(asked), 60) for each in moderator.judge(asked[start : start + 60], Role.INPUT)
    ]
    for text, judgement in zip(asked, judgements, strict=True):
        expected = POLICY.labels[written_label(model, classifier.request(plain(text), None))]
        assert judgement.label == expected, text
    assert len({judgement.label for judgement in judgements}) >= 3
