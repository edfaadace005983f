"""Texts with what MiniLM makes of them: what the demo's judge learns beside labels, to know more than templates."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np

from container.demo.data.moderation_data import Labelled, TextSampler, as_read
from container.demo.data.word_vectors import sentence_vectors

_READ_AT_ONCE = 4096
_SHARE_WITH_MEANING = 0.65


class MeantTexts:
    """A pool of labelled texts and their meanings, kept in a folder; a kill leaves the parts that were read."""

    def __init__(self, texts: list[Labelled], meanings: np.ndarray) -> None:
        """`meanings` is `[texts, 384]`."""
        self.texts = texts
        self.meanings = meanings

    @classmethod
    def kept(cls, folder: Path, sampler: TextSampler, most: int, report: Callable[[str], None] = print) -> MeantTexts:
        """The pool of `folder`, which is filled up to `most` texts of `sampler`."""
        folder.mkdir(parents=True, exist_ok=True)
        texts: list[Labelled] = []
        vectors: list[np.ndarray] = []
        for part in range(-(-most // _READ_AT_ONCE)):
            told, read = folder / f"{part:03d}.json", folder / f"{part:03d}.npy"
            drawn = [sampler.clean() for _ in range(_READ_AT_ONCE)]
            if not read.exists():
                told.write_text(json.dumps([asdict(each) for each in drawn]), "utf-8")
                np.save(read, sentence_vectors([each.text for each in drawn]).astype(np.float16))
                report(f"read {(part + 1) * _READ_AT_ONCE} texts")
            texts += [Labelled(**each) for each in json.loads(told.read_text("utf-8"))]
            vectors.append(np.load(read).astype(np.float32))
        return cls(texts, np.concatenate(vectors))


class MeantSource:
    """Draws from a pool, each text mistyped in its own way, and from a sampler."""

    def __init__(self, pool: MeantTexts, sampler: TextSampler, rng: random.Random) -> None:
        self._pool = pool
        self._sampler = sampler
        self._rng = rng

    def text(self) -> Labelled:
        """One labelled text; see `meant`."""
        return self.meant()[0]

    def meant(self) -> tuple[Labelled, np.ndarray | None]:
        """One labelled text with what MiniLM makes of it, `[384]`, as far as that is known."""
        if self._rng.random() >= _SHARE_WITH_MEANING:
            return self._sampler.text(), None
        index = self._rng.randrange(len(self._pool.texts))
        return as_read(self._pool.texts[index], self._rng), self._pool.meanings[index]
