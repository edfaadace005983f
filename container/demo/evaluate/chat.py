"""Measure a chat checkpoint on held-out articles, hand-written questions and small talk; prints one JSON object.

python -m container.demo.evaluate.chat container/demo/chat
"""

from __future__ import annotations

import argparse
import json
import random
import re
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from container.demo.data.articles import Article, is_held_out, read_articles
from container.demo.data.chat_examples import Example, hand_examples, made_examples
from container.demo.data.questions import overlap
from container.demo.data.sessions import Turn
from container.demo.data.smalltalk import load_small_talk, retyped
from container.demo.evaluate.generation import Generator, Reply

_OPENING = "Current Date: 2026-11-22\nCurrent Time: 14:05:00 PM UTC\n\n"
_SEED = 5


@dataclass(frozen=True)
class Figures:
    """Shares of `num_questions`: replies that hold the gold words, that end with the human tag, that are word for word
    text of the passage, that are the sentence the question was made from, and that are all of held, ended and verbatim.
    """

    num_questions: int
    gold: float
    ended: float
    verbatim: float
    exact: float
    clean: float


def judge(examples: list[Example], replies: list[Reply]) -> Figures:
    """Figures over one set of questions."""
    pairs = list(zip(examples, replies, strict=True))
    gold = [_plain(example.gold) in _plain(reply.text) for example, reply in pairs]
    ended = [reply.is_ended for _, reply in pairs]
    verbatim = [_plain(reply.text) in _plain(example.passage) and bool(reply.text) for example, reply in pairs]
    exact = [_plain(reply.text) == _plain(example.reply) for example, reply in pairs]
    clean = [all(three) for three in zip(gold, ended, verbatim, strict=True)]
    return Figures(len(pairs), *(_share(marks) for marks in (gold, ended, verbatim, exact, clean)))


def overlap_baseline(examples: list[Example]) -> float:
    """Gold share of a rule without a model: answer with the sentence that shares most words with the question."""
    return _share([_plain(example.gold) in _plain(_most_alike(example)) for example in examples])


def _most_alike(example: Example) -> str:
    return max(example.sentences, key=lambda sentence: overlap(example.question, sentence))


class Evaluation:
    """All figures of one checkpoint."""

    def __init__(self, generator: Generator, articles: list[Article], count: int) -> None:
        self._generator = generator
        self._held_out = [article for article in articles if is_held_out(article.title)]
        self._trained = [article for article in articles if not is_held_out(article.title)]
        self._count = count
        self.transcript: list[dict[str, str]] = []

    def figures(self) -> dict[str, object]:
        """Every set with its figures, and the word-overlap rule beside them."""
        made = made_examples(self._held_out, self._count, _SEED, held_out_frames=False)
        reworded = made_examples(self._held_out, self._count // 2, _SEED + 1, held_out_frames=True)
        known = made_examples(self._trained, self._count // 2, _SEED + 2, held_out_frames=False)
        by_hand = hand_examples(self._held_out)
        return {
            "held_out_articles": asdict(self._over("held_out_articles", made)),
            "held_out_articles_word_overlap_rule_gold": overlap_baseline(made),
            "held_out_articles_second_turn": asdict(self._second_turn(made[: self._count // 2])),
            "held_out_articles_and_wordings": asdict(self._over("held_out_wordings", reworded)),
            "trained_articles": asdict(self._over("trained_articles", known)),
            "by_hand": asdict(self._over("by_hand", by_hand)),
            "by_hand_word_overlap_rule_gold": overlap_baseline(by_hand),
            "small_talk": self._small_talk(made),
        }

    def _over(self, name: str, examples: list[Example]) -> Figures:
        sessions = [[Turn(example.question, "", example.passage)] for example in examples]
        replies = self._generator.replies(sessions, _OPENING)
        for example, reply in zip(examples, replies, strict=True):
            held = "gold" if _plain(example.gold) in _plain(reply.text) else "MISS"
            self._note(
                name, example.question, reply, remark=f"{held} [{example.kind}] gold: {example.gold}; {example.passage}"
            )
        return judge(examples, replies)

    def _second_turn(self, examples: list[Example]) -> Figures:
        """The same kind of question after a turn over another passage."""
        earlier = [examples[-1], *examples[:-1]]
        sessions = [
            [Turn(first.question, first.reply, first.passage), Turn(second.question, "", second.passage)]
            for first, second in zip(earlier, examples, strict=True)
        ]
        return judge(examples, self._generator.replies(sessions, _OPENING))

    def _small_talk(self, examples: list[Example]) -> dict[str, float]:
        """How often a phrase gets exactly its reply: trained and never trained phrasings, bare and behind a passage."""
        talk, rng = load_small_talk(), random.Random(_SEED)
        figures: dict[str, float] = {}
        for name in ("trained", "held_out"):
            cases = [
                (retyped(talk.fill(phrase, rng), rng), intent.reply)
                for intent in talk.intents
                for phrase in (intent.held_out if name == "held_out" else intent.said[:3])
            ]
            for place in ("bare", "behind_passage"):
                passage = None if place == "bare" else examples[0].passage
                replies = self._generator.replies([[Turn(said, "", passage)] for said, _ in cases], _OPENING)
                for (said, wanted), reply in zip(cases, replies, strict=True):
                    mark = "same" if reply.text == wanted else "OTHER"
                    self._note(f"small_talk_{name}_{place}", said, reply, remark=mark)
                figures[f"{name}_{place}"] = _share([r.text == w for r, (_, w) in zip(replies, cases, strict=True)])
        return figures

    def _note(self, name: str, question: str, reply: Reply, remark: str) -> None:
        text = reply.text if reply.is_ended else f"{reply.text} [no end]"
        self.transcript.append({"set": name, "question": question, "reply": text, "remark": remark})


def main(arguments: list[str] | None = None) -> None:
    """Print the figures of one checkpoint as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--articles", type=Path, default=Path(".cache/demo/articles.json"))
    parser.add_argument("--questions", type=int, default=240)
    parser.add_argument("--repetition-penalty", type=float, default=1.0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--transcript", type=Path, help="write every question and reply to this file")
    args = parser.parse_args(arguments)
    torch.set_num_threads(args.threads)
    generator = Generator(args.checkpoint, repetition_penalty=args.repetition_penalty)
    evaluation = Evaluation(generator, read_articles(args.articles), args.questions)
    print(json.dumps(evaluation.figures(), indent=2))
    if args.transcript:
        args.transcript.write_text(json.dumps(evaluation.transcript, indent=1, ensure_ascii=False), "utf-8")


def _plain(text: str) -> str:
    return " ".join(re.sub(r"[^\w ]", "", text.lower()).split())


def _share(marks: list[bool]) -> float:
    return round(sum(marks) / len(marks), 3) if marks else 0.0


if __name__ == "__main__":
    main()
