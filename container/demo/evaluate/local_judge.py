"""The demo's moderator in this process, without a server."""

from __future__ import annotations

from pathlib import Path

from server import wire
from server.chat.moderation.classifier import Classifier
from server.chat.moderation.moderator import Moderator
from server.chat.moderation.policy import Role
from server.chat.moderation.policy_file import DEFAULT_POLICY, load_policy
from server.chat.moderation.second_judge import open_second_judge
from server.chat.prompt.tokenizer import ChatTokenizer
from server.dtypes import DTYPES
from server.engine.rank.local import LocalEngine
from server.retrieval.encoder.source import SAMPLE


def local_moderator(folder: Path, policy_file: Path = DEFAULT_POLICY, encoder: str = SAMPLE) -> Moderator:
    """A moderator of both roles over the checkpoint of `folder` in float32 and a policy, whose second judge may need
    `encoder`.
    """
    policy = load_policy(policy_file)
    classifier = Classifier.of(wire.INPUT_MODERATION, ChatTokenizer.from_folder(folder), policy)
    engine = LocalEngine(folder, DTYPES["float32"])
    return Moderator(engine, policy, dict.fromkeys(Role, classifier), second=open_second_judge(policy, encoder))
