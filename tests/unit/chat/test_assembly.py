"""What the settings make of moderation."""

from __future__ import annotations

import logging

import pytest

from server.chat.assembly import _policy
from server.config import ConfigError, Settings


def test_a_model_for_replies_alone_stops_the_start() -> None:
    settings = Settings(output_moderation_model="/models/judge")
    with pytest.raises(
        ConfigError, match="OCK_OUTPUT_MODERATION_MODEL='/models/judge' is set and OCK_MODERATION_MODEL"
    ):
        _policy(settings)


@pytest.mark.parametrize(
    "settings",
    [Settings(), Settings(output_moderation_model="/models/judge", moderation_model="/models/judge", moderation="off")],
)
def test_moderation_that_is_off_is_logged(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert _policy(settings) is None
    assert "moderation.off" in caplog.text
