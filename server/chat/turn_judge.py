"""What the moderator says of a turn: of its question, of what a client brings along, of passages and of the reply."""

from __future__ import annotations

from concurrent.futures import Executor, Future

import msgspec

from server.chat.moderation.moderator import Moderator
from server.chat.moderation.policy import Role
from server.chat.moderation.remembered import HistoryVerdicts, PassageVerdicts, RequestVerdict
from server.chat.records.phases import JUDGE
from server.chat.records.turn_records import Judgement, TurnRequest
from server.chat.reply.stream import ReplyVerdict
from server.chat.text.normal import normalise
from server.chat.turn_in_progress import OpenTurn, settled
from server.retrieval.retriever import Passage


class TurnJudge:
    """Asks `moderator`, and puts down in the turn what it says; without one, nothing is judged."""

    def __init__(self, moderator: Moderator | None, executor: Executor) -> None:
        self._moderator = moderator
        self._history_verdicts = HistoryVerdicts(moderator) if moderator else None
        self._passage_verdicts = PassageVerdicts(moderator) if moderator else None
        self._executor = executor

    def as_judged(self, request: TurnRequest) -> TurnRequest:
        """`request` with its texts as they are judged, prompted, searched for and stored."""
        request = normalised(request)
        if self._moderator is None or not self._moderator.policy.judges:
            return request
        masked = self._moderator.masked
        history = request.history and tuple(
            msgspec.structs.replace(turn, user=masked(turn.user, Role.INPUT), reply=masked(turn.reply, Role.OUTPUT))
            for turn in request.history
        )
        return msgspec.structs.replace(
            request,
            text=masked(request.text, Role.INPUT),
            system=masked(request.system, Role.SYSTEM),
            history=history,
        )

    def start(self, turn: OpenTurn) -> Future[RequestVerdict | None]:
        """Judge the question, with what a client brings along: instructions, and the turns of its conversation."""
        if self._history_verdicts is None:
            return settled(None)
        turns = turn.session.turns if turn.request.history else ()
        judge = turn.clock.timed(JUDGE, self._history_verdicts.judge_request)
        return self._executor.submit(judge, turn.request, turns, turn.remaining_s)

    def wait(self, turn: OpenTurn, judged: Future[RequestVerdict | None]) -> Judgement | None:
        """The verdict that blocks, or None; turns that the client brought and the policy blocks are left out."""
        verdict = judged.result()
        if verdict is None:
            return None
        turn.moderation[Role.INPUT.value] = verdict.question
        if verdict.system is not None:
            turn.moderation[Role.SYSTEM.value] = verdict.system
        turn.withhold(verdict.withheld)
        self._note(turn, Role.INPUT, verdict.question, text=turn.request.text)
        if verdict.system is not None:
            self._note(turn, Role.SYSTEM, verdict.system, text=turn.request.system)
        if self._moderator is not None and verdict.question.caution:
            turn.take_care(self._moderator.policy.rule(Role.INPUT))
        return verdict.blocking

    def note_reply(self, turn: OpenTurn, verdict: ReplyVerdict) -> None:
        """Put what was thought of the reply into the audit log."""
        if verdict.judgement is not None:
            self._note(turn, Role.OUTPUT, verdict.judgement, text=verdict.text)

    def _note(self, turn: OpenTurn, role: Role, verdict: Judgement, text: str) -> None:
        if self._moderator is not None:
            self._moderator.note(turn.request.request_id, role, verdict, text)

    def allowed(self, turn: OpenTurn, passages: list[Passage]) -> list[Passage]:
        """Those of `passages` that the policy lets through. Raises ServiceError when one cannot be judged."""
        if self._passage_verdicts is None or not passages:
            return passages
        asked = turn.request
        kept = self._passage_verdicts.allowed(passages, turn.remaining_s, asked.request_id, caller=asked.caller)
        if len(kept) < len(passages):
            turn.warnings.append(f"{len(passages) - len(kept)} retrieved passages were withheld by the policy")
        return kept


def normalised(request: TurnRequest) -> TurnRequest:
    """`request` with its texts as they are judged, prompted, searched for and stored."""
    history = request.history and tuple(
        msgspec.structs.replace(turn, user=normalise(turn.user), reply=normalise(turn.reply))
        for turn in request.history
    )
    return msgspec.structs.replace(
        request,
        text=normalise(request.text),
        system=normalise(request.system),
        history=history,
        begun=normalise(request.begun),
    )
