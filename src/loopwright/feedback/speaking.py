"""Says something of a call on record: finds the call, also one whose answer has just ended; keeps no text where none is kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Protocol

from loopwright.core.call import CallDetail
from loopwright.core.errors import BadRequest, NotFound
from loopwright.core.score import Score
from loopwright.feedback.given import Author, Correction, Given, check_kept
from loopwright.feedback.store import Feedback

_ANSWERED: Final = ("chat", "completion")
"""Operations whose answers are texts that somebody can put right."""


class Find(Protocol):
    """`Calls.get`."""

    async def __call__(self, call_id: str, *, project_id: int | None, wait: float = 3.0) -> CallDetail:
        """One call; waits for one that is on its way to the database. Raises NotFound."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Speaking:
    """Feedback by the id of a call."""

    feedback: Feedback
    find: Find
    texts: bool
    """Whether this house keeps texts of calls at all."""

    async def score(self, call_id: str, score: Score, author: Author, *, project_id: int | None) -> Given:
        """Say something of a call.

        Raises:
            NotFound: there is no such call in the project, or it was deleted meanwhile.
            Refused: an explanation, of a call of which only metadata is kept.
        """
        detail = await self.find(call_id, project_id=project_id)
        if score.explanation:
            check_kept(detail, texts=self.texts, what="explanation")
        given = await self.feedback.score(detail.call, score, author)
        await self._still(detail)
        return given

    async def correct(
        self, call_id: str, output: Any, author: Author, *, project_id: int | None, note: str = ""
    ) -> Correction:
        """Say what the answer to a call should have been.

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
        made = await self.feedback.correct(detail.call, output, author, note=note)
        await self._still(detail)
        return made

    async def _still(self, detail: CallDetail) -> None:
        """Whoever deleted the call while we wrote has not seen what we said."""
        try:
            await self.find(detail.call.id, project_id=None, wait=0.0)
        except NotFound:
            await self.feedback.forget(project_id=None, call_id=detail.call.id)
            raise
