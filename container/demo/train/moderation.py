"""Train the demo moderation model, or continue from any GPT-J checkpoint on labelled texts of one's own.

python -m container.demo.train.moderation --out container/demo/moderation --steps 1200
python -m container.demo.train.moderation --init-from container/demo/moderation --steps 160 --rate 0.5 --lean 0.25
python -m container.demo.train.moderation --init-from FOLDER --data texts.jsonl --out mine --steps 500
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers import GPTJForCausalLM

from container.demo.data.articles import is_held_out, read_articles, read_news
from container.demo.data.moderation_data import Labelled, OrdinaryTexts, Phrases, TextSampler
from container.demo.data.moderation_sentences import Sentences
from container.demo.data.moderation_tokenizer import word_tokenizer
from container.demo.data.smalltalk import load_small_talk, read_abroad
from container.demo.data.user_data import DataError, FileTexts, read_texts
from container.demo.train.checkpoint import CheckpointError, open_checkpoint, save_continued, save_new
from container.demo.train.command import add_run_arguments
from container.demo.train.moderation_batches import ModerationBatches, PromptEncoder, TextSource
from container.demo.train.moderation_model import keep_embeddings, lean_to, move_embeddings, new_moderation_model
from container.demo.train.training import Options, Trainer
from server.chat.moderation.policy import Policy
from server.chat.moderation.policy_file import load_policy


@dataclass(frozen=True)
class Start:
    """What a run begins with."""

    model: GPTJForCausalLM
    tokenizer: Tokenizer
    make_source: Callable[[random.Random], TextSource]


def main(arguments: list[str] | None = None) -> None:
    """Train as the command line says, report progress, and save the checkpoint."""
    parser = _parser()
    args = parser.parse_args(arguments)
    torch.set_num_threads(args.threads)
    policy = load_policy()
    try:
        start = _start(args, policy)
    except (CheckpointError, DataError) as error:
        parser.error(str(error))
    batches = ModerationBatches(
        start.make_source, PromptEncoder(start.tokenizer, policy), policy, seed=args.seed, texts=args.texts
    )
    options = Options(args.minutes, args.steps).scaled(args.rate or (0.1 if args.init_from else 1.0))
    Trainer(start.model, batches, options, work=args.work).run(lambda line: print(line, flush=True))
    lean_to(start.model, start.tokenizer, policy.severity[0], log_odds=args.lean)
    if args.init_from:
        save_continued(start.model, args.init_from, args.out)
    else:
        save_new(start.model, start.tokenizer, args.out)
    print(f"saved {args.out}")


def _start(args: argparse.Namespace, policy: Policy) -> Start:
    """The demo's own start, or the checkpoint and the file that the command line names."""
    phrases = Phrases()
    phrases.widen()
    if args.data:
        make_source = _file_source(read_texts(args.data, policy.labels))
    else:
        make_source = demo_source(args.articles, phrases)
    if args.init_from:
        model, tokenizer = open_checkpoint(GPTJForCausalLM, args.init_from)
    else:
        tokenizer = word_tokenizer([policy.prefix(), *phrases.texts(), *Sentences().texts()])
        model = new_moderation_model(tokenizer, args.seed)
    if not (args.init_from and args.data):
        keep_embeddings(model)
        move_embeddings(model, args.noise, args.seed)
    return Start(model, tokenizer, make_source)


def _file_source(texts: list[Labelled]) -> Callable[[random.Random], TextSource]:
    return lambda rng: FileTexts(texts, rng)


def demo_source(articles: Path, phrases: Phrases) -> Callable[[random.Random], TextSource]:
    """What draws the demo's own training texts, by a generator."""
    trained = [article for article in read_articles(articles) if not is_held_out(article.title)]
    ordinary = OrdinaryTexts(trained, load_small_talk(), read_news())
    sentences, abroad = Sentences(), read_abroad()
    return lambda rng: TextSampler(phrases, sentences, ordinary, abroad=abroad, rng=rng)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--init-from", type=Path, help="continue from this GPT-J checkpoint folder")
    parser.add_argument("--data", type=Path, help="train on the texts of this JSON Lines file instead of the demo's")
    add_run_arguments(parser, "moderation")
    parser.add_argument("--texts", type=int, default=96, help="texts a step")
    parser.add_argument("--rate", type=float, help="of the usual learning rates; default 1, or 0.1 with --init-from")
    parser.add_argument(
        "--lean",
        type=float,
        default=0.0,
        help="added to the mildest label's log-odds at the end: a judge of every sentence must be slow to block",
    )
    parser.add_argument("--noise", type=float, default=0.5, help="how far word vectors move while training")
    return parser


if __name__ == "__main__":
    main()
