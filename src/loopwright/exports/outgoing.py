"""Calls on their way out of the house: with what was said of them, a handful at a time. Knows no format and no place."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from loopwright.calls.query import Calls
from loopwright.calls.question import CallFilter
from loopwright.core.call import Call, CallDetail
from loopwright.core.money import usd
from loopwright.feedback.beside import beside
from loopwright.feedback.store import Feedback

_PAGE: Final = 480
_TOGETHER: Final = 32
"""Calls whose texts are held at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A call that leaves, and what stands beside it."""

    detail: CallDetail
    texts: bool
    """Whether what was asked, answered and explained comes along."""
    scores: Sequence[Mapping[str, Any]] = ()
    corrections: Sequence[Mapping[str, Any]] = ()

    def shown(self) -> dict[str, Any]:
        """As a line of JSON has it: the call alone is flat, with its texts it is a member beside them."""
        said = {"scores": list(self.scores), "corrections": list(self.corrections)}
        call = call_shown(self.detail.call)
        if not self.texts:
            return call | said
        detail = self.detail
        shown = {"call": call, "request": detail.request, "response": detail.response, "sealed": detail.sealed}
        if detail.request_raw is not None:
            shown["request_raw"] = detail.request_raw
        return shown | {"sent": detail.sent} | said


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where calls come from."""

    calls: Calls
    feedback: Feedback

    async def each(
        self, asked: CallFilter, *, texts: bool, limit: int | None = None
    ) -> AsyncIterator[Sequence[Outgoing]]:
        """Every call that `asked` selects, newest first, a handful at a time; what comes in meanwhile is not among them.

        Raises:
            BadRequest: the filter cannot be asked.
            Unavailable: the database cannot answer now.
        """
        before: str | None = None
        left = limit
        while left is None or left > 0:
            page = await self.calls.page(asked, before=before, limit=min(_PAGE, _PAGE if left is None else left))
            for start in range(0, len(page.calls), _TOGETHER):
                some = await self.told(page.calls[start : start + _TOGETHER], texts=texts)
                if some:
                    yield some
            left = None if left is None else left - len(page.calls)
            before = page.next
            if before is None:
                return

    async def told(self, calls: Sequence[Call], *, texts: bool) -> list[Outgoing]:
        """These calls with what stands beside them; with `texts`, those that were deleted meanwhile are left out."""
        ids = [call.id for call in calls]
        details = {call.id: CallDetail(call=call, request=None, response=None) for call in calls}
        if texts:
            details = await self.calls.many(ids)
        said = await beside(self.feedback, ids, texts=texts)
        return [
            Outgoing(
                detail=details[each],
                texts=texts,
                scores=said.scores.get(each, ()),
                corrections=said.corrections.get(each, ()),
            )
            for each in ids
            if each in details
        ]


def wordless(detail: CallDetail) -> CallDetail:
    """A call without anything that was asked or answered; also not the message of an error, which may quote it."""
    return replace(
        detail, call=replace(detail.call, error=None), request=None, response=None, request_raw=None, sealed=None
    )


def call_shown(call: Call) -> dict[str, Any]:
    """The row of a call as REST shows it."""
    shown = asdict(call)
    cost = shown.pop("cost_nano")
    shown["tags"] = dict(call.tags)
    return shown | {"cost_usd": None if cost is None else usd(cost), "tpot_us": call.tpot_us}
