"""A front's worth of turns, to be killed: completes turns for ever and says on stdout which ones it was promised."""

from __future__ import annotations

import itertools
import sys
import time
from contextlib import suppress

from server.chat.records import Session, Turn
from server.chat.store.open import open_store
from server.chat.store.store import SessionBusy, next_turn


def complete_turns(url: str, run: str, sessions: list[str]) -> None:
    store = open_store(url, clock=time.time, session_ttl_s=86400, session_lock_s=600)
    for session_id in itertools.cycle(sessions):
        session = store.load(session_id, 10) or Session(session_id, 1.0)
        number = next_turn(session)
        turn = Turn(number, f"{run} {session_id} {number}", "reply " * 50, "stop", 1.0)
        with suppress(SessionBusy):  # a write of the front before may still be under way
            store.complete(store.claim(session, "front"), turn)
            print(turn.user, flush=True)


if __name__ == "__main__":
    complete_turns(sys.argv[1], sys.argv[2], sys.argv[3:])
