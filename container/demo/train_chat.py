"""Train the demo chat model, or continue from any GPT-NeoX checkpoint on sessions of one's own.

    python -m container.demo.train_chat --out container/demo/chat --minutes 45
    python -m container.demo.train_chat --init-from FOLDER --data sessions.jsonl --out mine --steps 500
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable
from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers import GPTNeoXForCausalLM

from container.demo.articles import Article, is_held_out, read_articles
from container.demo.chat_batches import ChatBatches, SessionSource
from container.demo.chat_data import Mix, SessionSampler
from container.demo.chat_model import CHAT_VOCAB, new_chat_model
from container.demo.checkpoint import save_model
from container.demo.entities import EntityMixer, Lexicon, build_lexicon
from container.demo.sessions import SessionEncoder, preamble
from container.demo.smalltalk import SmallTalk, load_small_talk
from container.demo.synthetic import SyntheticPassages
from container.demo.tokenizer import BOT, HUMAN, train_tokenizer
from container.demo.training import Options, Trainer


class DemoSessions:
    """Everything that the demo's own sessions are drawn from."""

    def __init__(self, articles: list[Article], small_talk: SmallTalk) -> None:
        self._articles = [article for article in articles if not is_held_out(article.title)]
        self._small_talk = small_talk
        self._lexicon: Lexicon = build_lexicon(self._sentences())

    def source(self, rng: random.Random) -> SessionSource:
        """A sampler that draws from `rng`."""
        return SessionSampler(self._articles, self._lexicon, self._small_talk, rng, Mix())

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


def main(arguments: list[str] | None = None) -> None:
    """Train as the command line says, report progress, and save the checkpoint."""
    args = _parser().parse_args(arguments)
    torch.set_num_threads(args.threads)
    args.work.mkdir(parents=True, exist_ok=True)
    model, tokenizer, make_source, options = _demo_run(args)
    batches = ChatBatches(make_source, SessionEncoder(tokenizer), args.seed, args.batch_tokens)
    Trainer(model, batches, options, args.work).run(lambda line: print(line, flush=True))
    save_model(model, tokenizer, args.out)
    print(f"saved {args.out}")


def _demo_run(
    args: argparse.Namespace,
) -> tuple[GPTNeoXForCausalLM, Tokenizer, Callable[[random.Random], SessionSource], Options]:
    sessions = DemoSessions(read_articles(args.articles), load_small_talk())
    tokenizer = sessions.tokenizer(args.seed)
    model = new_chat_model(tokenizer, args.seed)
    return model, tokenizer, sessions.source, Options(args.minutes, args.steps)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--articles", type=Path, default=Path(".cache/demo/articles.json"))
    parser.add_argument("--out", type=Path, default=Path("container/demo/chat"))
    parser.add_argument("--work", type=Path, default=Path(".cache/demo/chat-run"))
    length = parser.add_mutually_exclusive_group(required=True)
    length.add_argument("--minutes", type=float)
    length.add_argument("--steps", type=int)
    parser.add_argument("--batch-tokens", type=int, default=4096)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    return parser


if __name__ == "__main__":
    main()
