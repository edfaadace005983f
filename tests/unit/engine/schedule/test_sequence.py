"""Progress on a sequence, and that nothing of it outlives its request."""

from __future__ import annotations

import gc
import random

from server.engine.schedule.admission import ScheduledModel
from server.engine.schedule.block_pool import BlockPool, chain_digests
from server.engine.schedule.limits import ScheduleLimits
from server.engine.schedule.scheduler import Scheduler
from server.engine.schedule.sequence import ScoreRequest, TokenSequence
from server.wire import Generate, Sampling, Score
from tests.unit.engine.toy_runner import ToyRunner, toy_results


def test_the_block_table_follows_every_change_of_the_blocks() -> None:
    sequence = TokenSequence(request_id="a", model="chat", tokens=[1, 2, 3])
    sequence.add_blocks([4, 5])
    table = sequence.block_table
    assert table == (4, 5)
    assert sequence.block_table is table, "made once"
    sequence.replace_block(0, 9)
    assert sequence.block_table == (9, 5)
    sequence.add_blocks([7])
    assert sequence.block_table == (9, 5, 7)
    assert sequence.drop_blocks() == [9, 5, 7]
    assert (sequence.block_table, sequence.num_computed_tokens) == ((), 0)


def test_digests_grow_with_the_tokens_and_name_the_same_content() -> None:
    sequence = TokenSequence(request_id="a", model="chat", tokens=[1, 2, 3, 4])
    first = list(sequence.digests(1, 3))
    sequence.tokens += [5, 6]
    assert sequence.digests(2, 3)[:1] == first
    assert tuple(sequence.digests(2, 3)) == chain_digests((1, 2, 3, 4, 5, 6), 3)


def test_after_two_thousand_mixed_requests_no_sequence_and_no_block_is_left() -> None:
    rng = random.Random(11)
    models = {name: ScheduledModel(BlockPool(24, 4), 64) for name in ("chat", "mod")}
    scheduler = Scheduler(models, ScheduleLimits(max_step_tokens=64, max_running=8), lambda: 0.0)
    runner = ToyRunner({"chat": 4, "mod": 4})
    for number in range(2000):
        text = tuple(rng.randrange(50) for _ in range(rng.randint(1, 20)))
        if number % 3:
            scheduler.add_generate(Generate(f"mixed-{number}", text, Sampling(max_new_tokens=rng.randint(1, 8)), 1e9))
        else:
            scheduler.add_score(Score(f"mixed-{number}", "mod", (1, 2, 3, 4, 5), text, (6,), ((7, 8), (9,)), 1e9))
        if number % 7 == 0:
            scheduler.cancel(f"mixed-{number - 3}")
        plan = scheduler.plan_step()
        assert plan is not None
        scheduler.settle(plan, *toy_results(plan, runner.run(plan.step)))
    while plan := scheduler.plan_step():
        scheduler.settle(plan, *toy_results(plan, runner.run(plan.step)))
    del plan
    gc.collect()
    known = [each for each in gc.get_objects() if isinstance(each, TokenSequence | ScoreRequest)]
    assert not [each.request_id for each in known if each.request_id.startswith("mixed-")]
    assert models["chat"].pool.num_free_blocks == 24
    assert models["mod"].pool.num_free_blocks == 24 - 1, "one block is pinned"
    assert scheduler.status().num_waiting == 0
