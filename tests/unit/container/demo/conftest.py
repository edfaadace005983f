"""Small articles, so that the recipe's tests need no dump."""

from __future__ import annotations

import pytest

from container.demo.data.articles import Article
from container.demo.data.entities import Lexicon
from container.demo.data.smalltalk import SmallTalk, load_small_talk
from container.demo.train.chat import DemoSessions

_LEAD = (
    "Brenwick is a small harbour town in the north of Aldany.",
    "It was founded by Marga Tolin in 1742.",
    "The town has four churches and a museum of glass.",
    "In 1901 a storm destroyed the old lighthouse.",
    "Brenwick exports salted herring and wooden toys.",
    "The lighthouse was built in 1810 by the engineer Jan Orvel.",
    "Jan Orvel wrote a book about the tides of Aldany.",
    "The museum contains lamps, mirrors and coloured bottles.",
)


@pytest.fixture(scope="session")
def articles() -> list[Article]:
    return [Article("Brenwick", (_LEAD,)), Article("Orvel (engineer)", (_LEAD[4:], _LEAD[:3]))]


@pytest.fixture(scope="session")
def lexicon(articles: list[Article]) -> Lexicon:
    common = "harbour silver meadow copper ladder winter garden pencil marble thunder basket candle feather"
    return Lexicon(("Tolin", "Orvel", "Torvik"), tuple(common.split()), frozenset(("the", "town", "was", "four")))


@pytest.fixture(scope="session")
def small_talk() -> SmallTalk:
    return load_small_talk()


@pytest.fixture(scope="session")
def demo_sessions(articles: list[Article], small_talk: SmallTalk, lexicon: Lexicon) -> DemoSessions:
    return DemoSessions(articles, small_talk, lexicon)
