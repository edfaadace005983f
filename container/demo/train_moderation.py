"""Train the demo moderation model, or continue from any GPT-J checkpoint on labelled texts of one's own.

    python -m container.demo.train_moderation --out container/demo/moderation --minutes 18
    python -m container.demo.train_moderation --init-from FOLDER --data texts.jsonl --out mine --steps 500
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

import torch

from container.demo.articles import is_held_out, read_articles
from container.demo.checkpoint import save_model
from container.demo.moderation_batches import ModerationBatches, PromptEncoder
from container.demo.moderation_data import OrdinaryTexts, Phrases, TextSampler
from container.demo.moderation_model import move_embeddings, new_moderation_model, word_tokenizer
from container.demo.smalltalk import load_small_talk
from container.demo.training import Options, Trainer
from server.chat.policy import load_policy


def main(arguments: list[str] | None = None) -> None:
    """Train as the command line says, report progress, and save the checkpoint."""
    args = _parser().parse_args(arguments)
    torch.set_num_threads(args.threads)
    args.work.mkdir(parents=True, exist_ok=True)
    policy, phrases = load_policy(), Phrases()
    articles = [article for article in read_articles(args.articles) if not is_held_out(article.title)]
    ordinary = OrdinaryTexts(articles, load_small_talk())
    tokenizer = word_tokenizer([policy.prefix(), *phrases.texts()] * 5, related_to=phrases.texts())
    model = new_moderation_model(tokenizer, args.seed)
    move_embeddings(model, args.noise, args.seed)

    def source(rng: random.Random) -> TextSampler:
        return TextSampler(phrases, ordinary, rng)

    batches = ModerationBatches(source, PromptEncoder(tokenizer, policy), policy, args.seed)
    options = Options(args.minutes, args.steps)
    Trainer(model, batches, options, args.work).run(lambda line: print(line, flush=True))
    save_model(model, tokenizer, args.out)
    print(f"saved {args.out}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--articles", type=Path, default=Path(".cache/demo/articles.json"))
    parser.add_argument("--out", type=Path, default=Path("container/demo/moderation"))
    parser.add_argument("--work", type=Path, default=Path(".cache/demo/moderation-run"))
    length = parser.add_mutually_exclusive_group(required=True)
    length.add_argument("--minutes", type=float)
    length.add_argument("--steps", type=int)
    parser.add_argument("--noise", type=float, default=0.3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    return parser


if __name__ == "__main__":
    main()
