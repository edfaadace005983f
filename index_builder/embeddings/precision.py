"""What an encoder computes in: all vectors of an index must be of one precision, whichever machines made them."""

from __future__ import annotations

from server.retrieval.encoder.encoder import Precision, pick_device, pick_precision


def resolved_precision(precision: Precision) -> Precision:
    """What an encoder on this machine computes in when it is asked for `precision`."""
    return pick_precision(precision, pick_device("auto"))
