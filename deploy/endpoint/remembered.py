"""What an endpoint or its inference component served before, kept in a tag of it, so that a rollback finds it."""

from __future__ import annotations

from deploy.aws.api import Aws, Call


class Remembered:
    """The value of `tag` of the resource `arn`."""

    def __init__(self, aws: Aws, arn: str, tag: str) -> None:
        self._aws = aws
        self._arn = arn
        self._tag = tag

    def value(self, assumed: str | None = None) -> str | None:
        """What is remembered, None for nothing; `assumed` in a dry run."""
        listing = Call("sagemaker", "ListTags", {"ResourceArn": self._arn})
        found = self._aws.pages(listing, "Tags", [{"Key": self._tag, "Value": assumed}] if assumed else None)
        return {tag["Key"]: tag["Value"] for tag in found}.get(self._tag)

    def write(self, value: str | None) -> None:
        """Remember `value` from now on; None: nothing."""
        if value is None:
            self._aws.send(Call("sagemaker", "DeleteTags", {"ResourceArn": self._arn, "TagKeys": [self._tag]}))
            return
        tag = {"Key": self._tag, "Value": value}
        self._aws.send(Call("sagemaker", "AddTags", {"ResourceArn": self._arn, "Tags": [tag]}))
