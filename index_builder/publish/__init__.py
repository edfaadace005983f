"""A finished index folder, put where servers find it: files first, manifest last."""

from index_builder.publish.error import PublishError
from index_builder.publish.publication import publish, refuse_poor, refuse_unwritable

__all__ = ["PublishError", "publish", "refuse_poor", "refuse_unwritable"]
