"""What the recipe of the second judge saves is what the server reads."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from container.demo.data.moderation_data import Labelled
from container.demo.train.sentences import Pupil, Run, train
from server.retrieval.encoder.encoder import Encoder
from server.retrieval.encoder.source import SAMPLE
from server.retrieval.encoder.text_classifier import MADE_FOR, TextClassifier, digest

THREATS = ("I will kill you", "we shoot them all tonight", "I'm going to stab him")
HARMLESS = ("the soup is warm", "where is the station?", "a train to Leipzig")


class Few:
    """Draws of six texts."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def text(self) -> Labelled:
        kind = self._rng.random() < 0.5
        label = "needs intervention" if kind else "casual"
        return Labelled(self._rng.choice(THREATS if kind else HARMLESS), label, "")


def test_what_is_learnt_in_a_few_steps_is_what_the_classifier_reads(tmp_path: Path) -> None:
    torch.manual_seed(1)
    encoder = Encoder(SAMPLE, device="cpu")
    made_for = digest(encoder.network)
    pupil = Pupil(encoder)
    [*_, (line, tensors)] = train(pupil, Few, Run(12))
    assert line.startswith("step 12 of 12  loss 0.")
    save_file(tensors, tmp_path / "w.safetensors", {MADE_FOR: made_for})
    found = TextClassifier(Encoder(SAMPLE, device="cpu"), tmp_path / "w.safetensors").log_odds([*THREATS, *HARMLESS])
    assert found[:3].min() > found[3:].max()
    pupil.go_on_from(tmp_path / "w.safetensors")
    with torch.inference_mode():
        expected = pupil.eval()([*THREATS, *HARMLESS]).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-3)
