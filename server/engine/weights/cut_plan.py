"""How AutoTP would cut a checkpoint for a degree, found without any other rank and without the weights.

`python -m server.engine.weights.cut_plan FOLDER DEGREE` prints it as JSON. It runs in a process of its own because
it joins a process group that only pretends to have other members.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from server.engine.weights.sources import Cut, WeightsError

if TYPE_CHECKING:
    from transformers import PretrainedConfig


@dataclass(frozen=True)
class ParameterPlan:
    """One parameter's whole shape, and how it is divided: `sizes` along `dim`, or not at all.

    `is_matrix`: a layer multiplies by it; what four bits are enough for.
    """

    shape: tuple[int, ...]
    dim: int | None = None
    sizes: tuple[int, ...] = ()
    is_matrix: bool = False

    def cut(self, rank: int) -> Cut | None:
        """The share of `rank`; None when every rank holds all of it."""
        if self.dim is None:
            return None
        start = sum(self.sizes[:rank])
        return Cut(self.dim, start, start + self.sizes[rank])

    def share_shape(self, rank: int) -> tuple[int, ...]:
        """The shape of what `rank` holds."""
        if self.dim is None:
            return self.shape
        return (*self.shape[: self.dim], self.sizes[rank], *self.shape[self.dim + 1 :])


def plan_cuts(folder: Path, degree: int) -> dict[str, ParameterPlan]:
    """The plan of every parameter in the model's order.

    Raises:
        WeightsError: AutoTP cannot shard this model at this degree.
    """
    command = [sys.executable, "-m", "server.engine.weights.cut_plan", str(folder), str(degree)]
    environ = {**os.environ, "DS_ACCELERATOR": "cpu"}
    ran = subprocess.run(command, capture_output=True, text=True, env=environ, check=False)
    if ran.returncode:
        last = ran.stderr.strip().splitlines()[-1:] or ["no message"]
        raise WeightsError(f"{folder} cannot be cut for degree {degree}: {last[0]}")
    raw = json.loads(ran.stdout.splitlines()[-1])
    return {
        name: ParameterPlan(tuple(shape), dim, tuple(sizes), is_matrix=is_matrix)
        for name, (shape, dim, sizes, is_matrix) in raw.items()
    }


def _join_pretended_group(degree: int) -> None:
    import deepspeed
    from torch import distributed as dist
    from torch.testing._internal.distributed.fake_pg import FakeStore

    from server.engine.parallel.deepspeed_ops import load_all_reduce

    # A LOCAL_SIZE unlike WORLD_SIZE keeps the shared-memory operator from waiting for ranks that do not exist.
    os.environ.update(RANK="0", LOCAL_RANK="0", WORLD_SIZE=str(degree), LOCAL_SIZE="1")
    dist.init_process_group("fake", rank=0, world_size=degree, store=FakeStore())
    load_all_reduce()
    deepspeed.init_distributed(dist_backend="fake", auto_mpi_discovery=False, verbose=False)


def _print_plan(folder: Path, degree: int) -> None:
    import torch

    from server.engine.parallel.group import Rank
    from server.engine.weights.load import read_config, shard_on_meta

    config = read_config(folder)
    alone = Rank(0, 1, torch.device("cpu"))
    model = shard_on_meta(config, alone)
    whole = {name: tuple(parameter.shape) for name, parameter in model.named_parameters(remove_duplicate=False)}
    head = model.get_output_embeddings()
    matrices = {f"{name}.weight" for name, module in model.named_modules() if _is_matrix(module) and module is not head}
    cuts = _find_cuts(config, degree) if degree > 1 else {}
    plan = {name: (shape, *cuts.get(name, (None, ())), name in matrices) for name, shape in whole.items()}
    sys.stdout.write(json.dumps(plan) + "\n")


def _is_matrix(module: object) -> bool:
    from torch import nn

    return isinstance(module, nn.Linear)


def _find_cuts(config: PretrainedConfig, degree: int) -> dict[str, tuple[int | None, tuple[int, ...]]]:
    import torch

    from server.engine.parallel.group import Rank
    from server.engine.weights.load import shard_on_meta
    from server.engine.weights.sources import cut_of

    _join_pretended_group(degree)
    model = shard_on_meta(config, Rank(0, degree, torch.device("cpu")))
    found: dict[str, tuple[int | None, tuple[int, ...]]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        cuts = [cut for rank in range(degree) if (cut := cut_of(parameter, rank)) is not None]
        found[name] = (cuts[0].dim if cuts else None, tuple(cut.stop - cut.start for cut in cuts))
    return found


if __name__ == "__main__":
    try:
        _print_plan(Path(sys.argv[1]), int(sys.argv[2]))
    except WeightsError as error:
        sys.exit(str(error))
