"""Train the demo chat model, or continue from any GPT-NeoX checkpoint on sessions of one's own.

python -m container.demo.train.chat --out container/demo/chat --minutes 45
python -m container.demo.train.chat --init-from FOLDER --data sessions.jsonl --out mine --steps 500
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers import GPTNeoXForCausalLM

from container.demo.data.articles import Article, is_held_out, read_articles
from container.demo.data.chat_data import Mix, SessionSampler
from container.demo.data.entities import EntityMixer, Lexicon, build_lexicon
from container.demo.data.sessions import SessionEncoder, Turn, preamble
from container.demo.data.smalltalk import SmallTalk, load_small_talk
from container.demo.data.synthetic import SyntheticPassages
from container.demo.data.tokenizer import BOT, HUMAN, train_tokenizer
from container.demo.data.user_data import DataError, FileSessions, read_sessions
from container.demo.train.chat_batches import ChatBatches, SessionSource
from container.demo.train.chat_model import CHAT_VOCAB, new_chat_model
from container.demo.train.checkpoint import CheckpointError, open_checkpoint, save_continued, save_new
from container.demo.train.command import add_run_arguments
from container.demo.train.training import Options, Trainer


class DemoSessions:
    """Everything that the demo's own sessions are drawn from."""

    def __init__(self, articles: list[Article], small_talk: SmallTalk, lexicon: Lexicon | None = None) -> None:
        self._articles = articles
        self._small_talk = small_talk
        self._lexicon = lexicon or build_lexicon(self._sentences())

    def source(self, rng: random.Random) -> SessionSource:
        """A sampler that draws from `rng`."""
        return SessionSampler(self._articles, self._lexicon, self._small_talk, rng=rng, mix=Mix())

    def tokenizer(self, seed: int) -> Tokenizer:
        """A tokenizer trained on the training articles, the small talk, invented passages and preambles."""
        rng = random.Random(seed)
        synthetic = SyntheticPassages(EntityMixer(self._lexicon, rng), rng)
        invented = [" ".join(synthetic.passage()[0]) for _ in range(3000)]
        texts = [f" {text}" for text in [*self._sentences(), *self._small_talk.texts() * 2, *invented]]
        texts += ["Background:", "\n\n"] * 300 + [preamble(rng) for _ in range(300)]
        return train_tokenizer(texts, CHAT_VOCAB, (HUMAN, BOT))

    def _sentences(self) -> list[str]:
        return [sentence for article in self._articles for section in article.sections for sentence in section]


@dataclass(frozen=True)
class Start:
    """What a run begins with."""

    model: GPTNeoXForCausalLM
    tokenizer: Tokenizer
    make_source: Callable[[random.Random], SessionSource]


def main(arguments: list[str] | None = None) -> None:
    """Train as the command line says, report progress, and save the checkpoint."""
    parser = _parser()
    args = parser.parse_args(arguments)
    torch.set_num_threads(args.threads)
    try:
        start = _start(args)
    except (CheckpointError, DataError) as error:
        parser.error(str(error))
    batches = ChatBatches(start.make_source, SessionEncoder(start.tokenizer), args.seed, batch_tokens=args.batch_tokens)
    options = Options(args.minutes, args.steps).scaled(0.1 if args.init_from else 1.0)
    Trainer(start.model, batches, options, work=args.work).run(lambda line: print(line, flush=True))
    if args.init_from:
        save_continued(start.model, args.init_from, args.out)
    else:
        save_new(start.model, start.tokenizer, args.out)
    print(f"saved {args.out}")


def _start(args: argparse.Namespace) -> Start:
    """The demo's own start, or the checkpoint and the file that the command line names."""
    trained = [article for article in read_articles(args.articles) if not is_held_out(article.title)]
    demo = DemoSessions(trained, load_small_talk())
    make_source = _file_source(read_sessions(args.data)) if args.data else demo.source
    if args.init_from:
        model, tokenizer = open_checkpoint(GPTNeoXForCausalLM, args.init_from)
    else:
        tokenizer = demo.tokenizer(args.seed)
        model = new_chat_model(tokenizer, args.seed)
    return Start(model, tokenizer, make_source)


def _file_source(sessions: list[list[Turn]]) -> Callable[[random.Random], SessionSource]:
    return lambda rng: FileSessions(sessions, rng)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--init-from", type=Path, help="continue from this GPT-NeoX checkpoint folder")
    parser.add_argument("--data", type=Path, help="train on the sessions of this JSON Lines file instead of the demo's")
    add_run_arguments(parser, "chat")
    parser.add_argument("--batch-tokens", type=int, default=4096, help="tokens a step, padding included")
    return parser


if __name__ == "__main__":
    main()
