"""Greedy replies from a checkpoint, many prompts at a time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers import GPTNeoXForCausalLM

from container.demo.data.sessions import SessionEncoder, Turn
from container.demo.data.tokenizer import HUMAN, PADDING_ID

_ROWS = 24


@dataclass(frozen=True)
class Reply:
    """What the model said; `is_ended` when it closed the reply with the human tag."""

    text: str
    is_ended: bool


class Generator:
    """A checkpoint with its tokenizer, asked as the server asks it."""

    def __init__(self, folder: Path, most_new_tokens: int = 96, repetition_penalty: float = 1.0) -> None:
        self._model = GPTNeoXForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._encoder = SessionEncoder(self._tokenizer)
        self._human: int = self._tokenizer.encode(HUMAN, add_special_tokens=False).ids[0]
        self._most_new_tokens = most_new_tokens
        self._repetition_penalty = repetition_penalty

    def replies(self, sessions: list[list[Turn]], opening: str) -> list[Reply]:
        """The reply to the last turn of every session."""
        prompts = [self._encoder.prompt(turns, opening) for turns in sessions]
        order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
        replies: dict[int, Reply] = {}
        for first in range(0, len(order), _ROWS):
            rows = order[first : first + _ROWS]
            replies.update(zip(rows, self._generate([prompts[row] for row in rows]), strict=True))
        return [replies[index] for index in range(len(prompts))]

    @torch.no_grad()
    def _generate(self, prompts: list[list[int]]) -> list[Reply]:
        longest = max(map(len, prompts))
        ids = torch.tensor([[PADDING_ID] * (longest - len(prompt)) + prompt for prompt in prompts])
        mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts])
        rows = self._model.generate(
            input_ids=ids,
            attention_mask=mask,
            max_new_tokens=self._most_new_tokens,
            do_sample=False,
            repetition_penalty=self._repetition_penalty,
            eos_token_id=self._human,
            pad_token_id=PADDING_ID,
        )
        return [self._reply(row[longest:].tolist()) for row in rows]

    def _reply(self, tokens: list[int]) -> Reply:
        is_ended = self._human in tokens
        tokens = tokens[: tokens.index(self._human)] if is_ended else tokens
        return Reply(self._tokenizer.decode(tokens).strip(), is_ended)
