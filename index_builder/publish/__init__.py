"""A finished index folder, put where servers find it: files first, manifest last."""

from index_builder.publish.publication import publish, refuse_poor, refuse_unwritable
from index_builder.publish.targets import PublishError

__all__ = ["PublishError", "publish", "refuse_poor", "refuse_unwritable"]
