"""Real ranks on CUDA devices: float32 and greedy, the tokens are those of transformers' own `generate`."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedModel

from server import wire
from tests.process.engine.engine_group import EngineGroup
from tests.process.engine.small_models import VOCAB_SIZE, WINDOW, greedy, log_probs, make

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device"),
]

GROUPS = [(kind, world, overlap) for kind in ("neox", "gptj") for world in (1, 2, 4) for overlap in ("off", "on")]
DEVICE = "cuda"


@pytest.fixture(scope="module", params=GROUPS, ids=lambda group: "-".join(map(str, group)))
def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[EngineGroup, PreTrainedModel]]:
    kind, world, overlap = request.param
    if torch.cuda.device_count() < world:
        pytest.skip(f"{world} ranks need as many CUDA devices, torch sees {torch.cuda.device_count()}")
    folder: Path = tmp_path_factory.mktemp("cuda")
    model = make(kind, folder / "model")
    settings = {"OCK_DTYPE": "float32", "OCK_MAX_STEP_TOKENS": "48", "OCK_KV_CACHE_TOKENS": str(2 * WINDOW + 32)}
    group = EngineGroup(folder / "model", world, folder / "run", OCK_DEVICE=DEVICE, OCK_OVERLAP=overlap, **settings)
    try:
        group.wait_ready()
        yield group, model
    finally:
        group.close()


def test_prompts_in_one_batch_give_the_tokens_of_generate(served: tuple[EngineGroup, PreTrainedModel]) -> None:
    group, model = served
    prompts = [random.Random(length).choices(range(1, VOCAB_SIZE), k=length) for length in (1, 7, 31, 40, 64, 90)]
    rooms = [min(24, WINDOW - len(prompt)) for prompt in prompts]
    expected = [greedy(model, prompt, room) for prompt, room in zip(prompts, rooms, strict=True)]
    assert group.replies(prompts, rooms) == expected


def test_log_probabilities_of_labels_equal_the_model_s_own(served: tuple[EngineGroup, PreTrainedModel]) -> None:
    group, model = served
    text = random.Random(3).choices(range(1, VOCAB_SIZE), k=25)
    candidates = ((5, 6, 7), (5, 6, 9), (5, 30), (200,))
    request = wire.Score("score", "input_moderation", tuple(text[:15]), tuple(text[15:]), (), candidates)
    for candidate, found in zip(candidates, group.client.score([request])[0].log_probs[0], strict=True):
        assert list(found) == pytest.approx(log_probs(model, text, candidate), abs=1e-3)


@pytest.mark.parametrize("kind", ["neox", "gptj"])
def test_int8_matrices_go_from_the_host_to_the_device_and_serve(kind: str, tmp_path: Path) -> None:
    make(kind, tmp_path / "model")
    group = EngineGroup(tmp_path / "model", 1, tmp_path / "run", OCK_DEVICE=DEVICE, OCK_DTYPE="int8")
    try:
        group.wait_ready()
        tokens, end = group.reply(random.Random(5).choices(range(1, VOCAB_SIZE), k=30), 12)
        assert (len(tokens), end.reason) == (12, "length")
    finally:
        group.close()
