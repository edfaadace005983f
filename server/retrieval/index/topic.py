"""What a conversation is about, as a direction among the passages' vectors.

A follow-up names nothing: "When was he born?" is nearest to any birth. Its vector is moved towards the passages that
the questions before it found, and their neighbourhood answers it; the words it does have still rank what is near, so a
question that names something of its own leaves the topic. No text is made and nothing is encoded for it. This is
Rocchio's relevance feedback, with the conversation as the feedback.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Measured on conversations about an encyclopedia; see index_builder/README.md.
_RANK_DECAY = 0.5  # what a passage counts beside the one ranked before it
_MAX_PASSAGES = 3
_QUESTION_WEIGHT = 0.2  # of an earlier question beside what it found
_AGE_WEIGHT = 0.3  # of the question before the last
_PULLS = (1.5, 1.1, 0.65, 0.5)  # how far a question is moved, by how many words of its own it has: 0, 1, 2, 3 and more


@dataclass(frozen=True)
class Topic:
    """What the last two questions that found anything were about, newest first."""

    directions: tuple[NDArray[np.float32], ...] = ()  # [dimension] each

    def after(self, question: NDArray[np.float32], found: NDArray[np.float32]) -> Topic:
        """The topic once `question` found the passages `found` [num_passages, dimension], best first."""
        if not len(found):
            return self
        weights = np.float32(_RANK_DECAY) ** np.arange(min(len(found), _MAX_PASSAGES), dtype=np.float32)
        direction = _unit((weights @ found[: len(weights)]).astype(np.float32)) + _QUESTION_WEIGHT * question
        return Topic((direction, *self.directions[:1]))

    @property
    def alone(self) -> Topic:
        """Its newest direction alone."""
        return Topic(self.directions[:1])

    def moved(self, question: NDArray[np.float32], num_words: int) -> NDArray[np.float32]:  # [dimension]
        """The unit vector of a question with so many words of its own, moved towards the topic."""
        assert self.directions, "without a topic, the question stands as it is"
        whole = np.sum([_AGE_WEIGHT**age * each for age, each in enumerate(self.directions)], axis=0)
        pull = _PULLS[min(num_words, len(_PULLS) - 1)]
        return _unit(question + pull * _unit(whole.astype(np.float32)))


def _unit(vector: NDArray[np.float32]) -> NDArray[np.float32]:
    found: NDArray[np.float32] = vector / max(float(np.linalg.norm(vector)), 1e-12)
    return found
