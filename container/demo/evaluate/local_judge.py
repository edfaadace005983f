"""The demo's moderator in this process, without a server."""

from __future__ import annotations

from pathlib import Path

from server import wire
from server.chat.moderation.classifier import Classifier
from server.chat.moderation.moderator import Moderator
from server.chat.moderation.policy import Role
from server.chat.moderation.policy_file import load_policy
from server.chat.prompt.tokenizer import ChatTokenizer
from server.dtypes import DTYPES
from server.engine.rank.local import LocalEngine


def local_moderator(folder: Path) -> Moderator:
    """A moderator of both roles over the checkpoint of `folder` in float32, and the policy that is the default."""
    policy = load_policy()
    classifier = Classifier.of(wire.INPUT_MODERATION, ChatTokenizer.from_folder(folder), policy)
    return Moderator(LocalEngine(folder, DTYPES["float32"]), policy, dict.fromkeys(Role, classifier))
