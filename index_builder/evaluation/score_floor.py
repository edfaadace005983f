"""The cosine similarity under which a passage is not relevant, measured for this encoder and this corpus."""

from __future__ import annotations

import numpy as np

from index_builder.evaluation.exact import exact_neighbours
from index_builder.progress import Progress
from server.retrieval.encoder.encoder import Encoder
from server.retrieval.index.stored_vectors import StoredVectors

SHARE_UNDER_FLOOR = 97.0
# What people say without asking for knowledge.
SMALL_TALK = (
    "Good morning", "Good evening, friend", "Good night", "Hello", "Hi there!", "Hey", "Bye for now", "See you soon", 
    "Thank you!", "Thanks a lot", "You're welcome", "Nice to meet you", "How are you?", "How are you today?",
    "What's up?", "How was your day?", "Have a nice day", "Have a great weekend", "Okay", "Yes", "No", "Sure, why not",
    "Sounds good", "That's great", "That is funny", "Haha", "Cool", "Wow", "Sorry", "Excuse me", "Please go on",
    "Say that again", "I don't understand", "Never mind", "Wait a moment", "Let's talk", "Do you want to chat?",
    "Can you help me?", "I need your help", "Tell me a joke", "Tell me something nice", "What is your name?",
    "Who are you?", "What can you do?", "How old are you?", "Where do you live?", "Do you have friends?",
    "Do you like music?", "I love you", "I feel sad today", "I am tired", "I'm bored", "I slept badly last night",
    "I had a long day at work", "What should I cook for dinner?", "My dog is sick", "Happy birthday!", "Good luck",
    "Congratulations!", "What do you think?", "That makes no sense", "You are wrong", "I agree with you",
)  # fmt: skip


def small_talk_floor(encoder: Encoder, vectors: StoredVectors, progress: Progress) -> float:
    """The cosine similarity to its nearest passage that nearly all small talk stays under."""
    with progress.stage("floor", len(vectors), "vector") as bar:
        scores, _ = exact_neighbours(encoder.encode(SMALL_TALK), vectors, 1, bar.update)
    return round(float(np.percentile(scores[:, 0], SHARE_UNDER_FLOOR)), 3)
