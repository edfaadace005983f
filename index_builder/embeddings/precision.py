"""What an encoder computes in: all vectors of an index must be of one precision, whichever machines made them."""

from __future__ import annotations

from typing import cast

from server.retrieval import encoder
from server.retrieval.encoder import Precision


def resolved_precision(precision: Precision) -> Precision:
    """What an encoder on this machine computes in when it is asked for `precision`."""
    return cast(Precision, encoder._precision(precision, encoder._device("auto")))
