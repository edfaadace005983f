"""The quoting workload: every reply says what it is to say, drafted or not, and is mostly quotations."""

from __future__ import annotations

import random
from pathlib import Path

from server import wire
from server.engine.bench.quoting import QuotingRunner, quoting_reply
from tests.unit.engine.rank.markov import CLIENT, NUM_TOKENS, TOKENIZER, make_leader, run


def test_replies_quote_their_prompts_and_drafts_find_the_quotations(tmp_path: Path) -> None:
    chooser = random.Random(1)
    prompts = [tuple(chooser.choices(range(34, 120), k=60)) for _ in range(3)]
    replies = [quoting_reply(prompt, 90, chooser) for prompt in prompts]
    steps = {}
    for drafts in (False, True):
        quoting: list[QuotingRunner] = []

        def wrap(runner: object, made: list[QuotingRunner] = quoting) -> QuotingRunner:
            made.append(QuotingRunner(runner))  # type: ignore[arg-type]
            return made[0]

        leader, inbox, runner = make_leader(tmp_path, drafts=drafts, wrap=wrap)
        for number, (prompt, reply) in enumerate(zip(prompts, replies, strict=True)):
            quoting[0].expect(prompt, reply)
            sampling = wire.Sampling(max_new_tokens=90, do_sample=True, temperature=0.6, ignore_eos=True)
            leader.take(CLIENT, wire.Generate(str(number), prompt, sampling))
        run(leader)
        for number, reply in enumerate(replies):
            assert inbox.text_of(str(number)) == TOKENIZER.decode(list(reply)).rstrip("\ufffd")
        steps[drafts] = len(runner.steps)
    assert steps[True] < 0.7 * steps[False]
    assert max(map(max, replies)) < NUM_TOKENS
