"""Says something of a call on record: finds the call, also one whose answer has just ended; keeps no text where none is kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol, TypeVar

from loopwright.core.call import Call, CallDetail
from loopwright.core.errors import BadRequest, NotFound
from loopwright.core.score import Score
from loopwright.feedback.given import Author, Correction, Given, check_kept
from loopwright.feedback.store import Feedback
from loopwright.kit.db import Connection

_ANSWERED: Final = ("chat", "completion")
"""Operations whose answers are texts that somebody can put right."""


class Find(Protocol):
    """`Calls.get`."""

    async def __call__(self, call_id: str, *, project_id: int | None, wait: float = 3.0) -> CallDetail:
        """One call; waits for one that is on its way to the database. Raises NotFound."""
        ...


class Learnt(Protocol):
    """What became of a correction."""

    def shown(self) -> Mapping[str, Any]:
        """JSON."""
        ...


L = TypeVar("L", bound=Learnt)


class Learning(Protocol[L]):
    """Learns from what is said; `memory.learning` does."""

    async def corrected(
        self, connection: Connection, detail: CallDetail, correction_id: int, output: Any, author: tuple[str, int], /
    ) -> L:
        """Learn a correction, in the transaction that keeps it."""
        ...

    async def settled(self, learnt: L, project_id: int, /) -> L:
        """Finish learning, once it is kept."""
        ...

    async def scored(self, connection: Connection, call: Call, score: Score, /) -> None:
        """Hear of a score, in the transaction that keeps it."""
        ...

    async def forget(self, call_id: str, /) -> None:
        """Forget what was learnt of a call."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Speaking:
    """Feedback by the id of a call."""

    feedback: Feedback
    find: Find
    texts: bool
    """Whether this house keeps texts of calls at all."""
    learning: Learning[Any] | None = None
    """Hears what is said."""

    async def score(self, call_id: str, score: Score, author: Author, *, project_id: int | None) -> Given:
        """Say something of a call.

        Raises:
            NotFound: there is no such call in the project, or it was deleted meanwhile.
            Refused: an explanation, of a call of which only metadata is kept.
        """
        detail = await self.find(call_id, project_id=project_id)
        if score.explanation:
            check_kept(detail, texts=self.texts, what="explanation")

        async def also(connection: Connection) -> None:
            if self.learning is not None:
                await self.learning.scored(connection, detail.call, score)

        given = await self.feedback.score(detail.call, score, author, also=also)
        await self._still(detail)
        return given

    async def correct(
        self, call_id: str, output: Any, author: Author, *, project_id: int | None, note: str = ""
    ) -> Correction:
        """Say what the answer to a call should have been; from then on the next one like it is shown that.

        Raises:
            BadRequest: its answer is no text, or the output cannot be kept.
            NotFound: there is no such call in the project, or it was deleted meanwhile.
            Refused: of this call only metadata is kept.
        """
        detail = await self.find(call_id, project_id=project_id)
        if detail.call.operation not in _ANSWERED:
            raise BadRequest(
                f"call {detail.call.id} is one of {detail.call.operation}: its answer is no text to correct"
            )
        check_kept(detail, texts=self.texts, what="correction")
        learning, learnt = self.learning, None

        async def also(connection: Connection, correction_id: int) -> None:
            nonlocal learnt
            if learning is not None:
                said = (author.name, author.key_id)
                learnt = await learning.corrected(connection, detail, correction_id, output, said)

        made = await self.feedback.correct(detail.call, output, author, note=note, also=also)
        await self._still(detail)
        if learning is None or learnt is None:
            return made
        settled = await learning.settled(learnt, detail.call.project_id)
        return replace(made, learnt=settled.shown())

    async def _still(self, detail: CallDetail) -> None:
        """Whoever deleted the call while we wrote has not seen what we said."""
        try:
            await self.find(detail.call.id, project_id=None, wait=0.0)
        except NotFound:
            await self.feedback.forget(project_id=None, call_id=detail.call.id)
            if self.learning is not None:
                await self.learning.forget(detail.call.id)
            raise
