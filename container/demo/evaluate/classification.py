"""Labels of texts by a GPT-J checkpoint: each label's log-probability after the prompt, as the server scores."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers import GPTJForCausalLM

from container.demo.data.tokenizer import PADDING_ID
from container.demo.train.moderation_batches import PromptEncoder
from server.chat.moderation.policy import Policy

_ROWS = 16


class Classifier:
    """A moderation checkpoint with its tokenizer and a policy."""

    def __init__(self, folder: Path, policy: Policy) -> None:
        self._model = GPTJForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        self._encoder = PromptEncoder(Tokenizer.from_file(str(folder / "tokenizer.json")), policy)
        self._prefix = self._encoder.prefix()
        self._labels = policy.labels
        self._endings = [self._encoder.label(label) for label in policy.labels]

    def labels(self, texts: list[str]) -> list[str]:
        """The most probable label of every text."""
        found: list[str] = []
        for first in range(0, len(texts), _ROWS):
            scores = self._scores(texts[first : first + _ROWS])
            found += [self._labels[index] for index in scores.argmax(1).tolist()]
        return found

    @torch.no_grad()
    def _scores(self, texts: list[str]) -> torch.Tensor:
        """Log-probabilities, `[texts, labels]`, each the sum over all of a label's tokens and its line end."""
        prompts = [self._prefix + self._encoder.text(text) for text in texts]
        rows = [prompt + ending for prompt in prompts for ending in self._endings]
        longest = max(map(len, rows))
        ids = torch.tensor([row + [PADDING_ID] * (longest - len(row)) for row in rows])
        shortest = min(map(len, prompts)) - 1  # logits are needed from the last prompt token on
        logits = self._model(input_ids=ids).logits[:, shortest:].log_softmax(-1)
        scores = torch.zeros(len(texts), len(self._endings))
        for text, prompt in enumerate(prompts):
            for label, ending in enumerate(self._endings):
                start = len(prompt) - 1 - shortest
                line = logits[text * len(self._endings) + label, start : start + len(ending)]
                scores[text, label] = line[range(len(ending)), ending].sum()
        return scores
