"""Hands calls on to where they are of use: to people who rate them, or into a dataset."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from loopwright.app import App
from loopwright.calls.pages import checked_id
from loopwright.core.call import CallDetail
from loopwright.core.errors import BadRequest
from loopwright.core.who import Principal
from loopwright.datasets.dataset import DatasetVersion
from loopwright.datasets.example import Example
from loopwright.datasets.made import of_call
from loopwright.evals.review_items import forget_gone
from loopwright.evals.review_items import of_call as item_of
from loopwright.feedback.given import Author
from loopwright.feedback.review import Review
from loopwright.feedback.rubric import criteria_of

MOST: Final = 500
"""Calls that are handed on at once."""
_CRITERIA: Final = ("ok: yes, no",)


@dataclass(frozen=True, slots=True)
class Handing:
    """Calls of one project, by their ids, in this order."""

    app: App
    project_id: int
    call_ids: Sequence[str]

    async def to_review(
        self, who: Principal, name: str, *, criteria: Sequence[str] = (), raters: int = 1, source: Mapping[str, Any]
    ) -> Review:
        """A new review of them.

        Raises:
            BadRequest: none of them has a text to rate, there are more than 500, or see `Reviews.create`.
            Conflict: there is a review of this name.
        """
        found = [item_of(each) for each in await self._details()]
        items = [each for each in found if each is not None]
        if not items:
            raise BadRequest("there is nothing to rate: none of these calls has a text", param="calls")
        review = await self.app.workshop.turns.reviews.create(
            self.project_id,
            name,
            mode="rubric",
            criteria=criteria_of([*criteria] or [*_CRITERIA], "rubric"),
            items=items,
            source=source,
            author=Author.of(who),
            raters=raters,
        )
        await forget_gone(self.app.calls, self.app.workshop.feedback, items)
        return review

    async def to_dataset(self, who: Principal, name: str, *, answers: bool = False, note: str = "") -> DatasetVersion:
        """The next version of a dataset, with them; made when it is not there.

        Args:
            who: does it.
            name: of the dataset.
            answers: keep what was answered as what should be; bad answers are better left out.
            note: why.

        Raises:
            BadRequest: none of them has a text, there are more than 500, or see `Datasets.append`.
        """
        details = await self._details()
        made = [each for detail in details if (each := of_call(detail, answers=answers)) is not None]
        if not made:
            raise BadRequest("there is nothing to keep: none of these calls has a text", param="calls")

        async def examples() -> AsyncIterator[Example]:
            for each in made:
                yield each

        return await self.app.workshop.datasets.append(
            self.project_id, name, examples(), author=who.key_name, source="calls", note=note
        )

    async def _details(self) -> list[CallDetail]:
        if len(self.call_ids) > MOST:
            raise BadRequest(f"calls: {len(self.call_ids):,}, at most {MOST} at once", param="calls")
        ids = list(dict.fromkeys(checked_id(each, "calls") for each in self.call_ids))
        found = await self.app.calls.many(ids)
        there = [found[each] for each in ids if each in found]
        return [each for each in there if each.call.project_id == self.project_id]
