"""Measure a moderation checkpoint on texts of held-out templates, sentences and articles; prints one JSON object.

python -m container.demo.evaluate.moderation container/demo/moderation
"""

from __future__ import annotations

import argparse
import json
import random
import tomllib
from collections.abc import Callable
from pathlib import Path

import torch

from container.demo.data.articles import is_held_out, read_articles, read_news
from container.demo.data.moderation_data import Labelled, OrdinaryTexts, Phrases
from container.demo.data.moderation_sentences import Sentences
from container.demo.data.smalltalk import load_small_talk, read_abroad
from container.demo.evaluate.classification import Classifier
from server.chat.moderation.policy_file import load_policy
from server.chat.text.lookalikes import readings

_PROBES = Path(__file__).with_name("moderation_probes.toml")
_BLOCKING = "needs intervention"
_SEED = 7
_GROUPS = ("intervention", "caution", "probably", "possibly", "casual")


class Evaluation:
    """All figures of one checkpoint; `mistakes` lists what was wrongly blocked or let through."""

    def __init__(self, classifier: Classifier, phrases: Phrases, ordinary: OrdinaryTexts, count: int) -> None:
        self._classifier = classifier
        self._phrases = phrases
        self._ordinary = ordinary
        self._sentences = Sentences()
        self._texts_abroad = read_abroad(held_out=True)
        self._count = count
        self._rng = random.Random(_SEED)
        self.mistakes: list[str] = []

    def figures(self) -> dict[str, object]:
        """Block shares by set, and the label accuracy on held-out phrases."""
        probes = tomllib.loads(_PROBES.read_text("utf-8"))
        figures: dict[str, object] = {
            "intervention_held_out_templates": self._blocked(self._phrase("intervention", "held_out")),
            "intervention_held_out_sentences": self._blocked(self._sentence("intervention")),
            "intervention_seen": self._blocked(self._phrase("intervention", "seen")),
            "casual_held_out_templates": self._blocked(self._phrase("casual", "held_out")),
            "casual_held_out_sentences": self._blocked(self._sentence("casual")),
            "held_out_article_sentences": self._blocked(lambda: self._ordinary.sentence(self._rng)),
            "held_out_article_questions": self._blocked(lambda: self._ordinary.question(self._rng)),
            "held_out_news": self._blocked(lambda: self._ordinary.report(self._rng)),
            "small_talk": self._blocked(lambda: self._ordinary.talk(self._rng)),
            "other_languages_held_out": self._blocked(self._abroad),
        }
        for name in ("blocked", "allowed"):
            kind = _BLOCKING if name == "blocked" else "casual"
            texts = [Labelled(text, kind, f"hand_{name}") for text in probes[name]]
            figures[f"hand_written_{name}"] = self._share_blocked(texts)
        return {"blocked_share": figures, "labels_held_out": self._label_accuracy()}

    def _phrase(self, group: str, templates: str) -> Callable[[], Labelled]:
        return lambda: self._phrases.draw(group, self._rng, templates, "all")

    def _sentence(self, kind: str) -> Callable[[], Labelled]:
        def fill(text: str) -> str:
            return self._phrases.fill(text, self._rng, "all")

        label = _BLOCKING if kind == "intervention" else kind
        return lambda: Labelled(self._sentences.draw(kind, fill, self._rng, held_out=True), label, kind)

    def _abroad(self) -> Labelled:
        """A harmless text in another language, as it looks or as it is written."""
        return Labelled(self._rng.choice(readings(self._rng.choice(self._texts_abroad))), "casual", "abroad")

    def _blocked(self, draw: Callable[[], Labelled]) -> dict[str, float]:
        """The share blocked among distinct drawn texts."""
        texts: dict[str, Labelled] = {}
        for _ in range(self._count * 8):
            drawn = draw()
            texts.setdefault(drawn.text, drawn)
            if len(texts) == self._count:
                break
        return self._share_blocked(list(texts.values()))

    def _share_blocked(self, texts: list[Labelled]) -> dict[str, float]:
        labels = self._classifier.labels([text.text for text in texts])
        for text, label in zip(texts, labels, strict=True):
            if (label == _BLOCKING) != (text.label == _BLOCKING):
                self.mistakes.append(f"{text.group}: {text.text} -> {label}")
        blocked = sum(label == _BLOCKING for label in labels)
        return {"num_texts": len(texts), "blocked": round(blocked / len(texts), 4)}

    def _label_accuracy(self) -> dict[str, float]:
        """The share of right labels by group, of held-out templates."""
        figures = {}
        for group in _GROUPS:
            texts = [self._phrases.draw(group, self._rng, "held_out", "all") for _ in range(self._count // 2)]
            labels = self._classifier.labels([text.text for text in texts])
            right = sum(label == text.label for text, label in zip(texts, labels, strict=True))
            figures[group] = round(right / len(texts), 4)
        return figures


def main(arguments: list[str] | None = None) -> None:
    """Print the figures of one checkpoint as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--articles", type=Path, default=Path(".cache/demo/articles.json"))
    parser.add_argument("--texts", type=int, default=400, help="texts of each set")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--mistakes", action="store_true", help="also print every wrongly judged text")
    args = parser.parse_args(arguments)
    torch.set_num_threads(args.threads)
    held_out = [article for article in read_articles(args.articles) if is_held_out(article.title)]
    classifier = Classifier(args.checkpoint, load_policy())
    # No teacher here: every sentence of the held-out articles counts, also those that mention violence.
    evaluation = Evaluation(
        classifier,
        Phrases(),
        OrdinaryTexts(held_out, load_small_talk(), read_news(held_out=True), teacher_limit=2.0),
        count=args.texts,
    )
    print(json.dumps(evaluation.figures(), indent=2))
    if args.mistakes:
        print("\n".join(evaluation.mistakes))


if __name__ == "__main__":
    main()
