"""A finished index folder, put where servers find it: files first, manifest last."""

from index_builder.publish.target import PublishError, publish

__all__ = ["PublishError", "publish"]
