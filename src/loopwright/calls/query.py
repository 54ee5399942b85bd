"""What can be asked of the calls on record: pages, one call, totals and series, deletion. The face of this room."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from loopwright.calls import again, charts, erase, overview, pages, savings, search
from loopwright.calls.again import Given
from loopwright.calls.charts import Chart, ChartAsk
from loopwright.calls.dashboards import Dashboards
from loopwright.calls.question import (
    CallFilter,
    CallPage,
    Counts,
    Group,
    Overview,
    Point,
    Series,
    Spread,
    Summary,
    TargetGroup,
)
from loopwright.calls.rows import call_of
from loopwright.calls.savings import Savings
from loopwright.calls.silence import silence
from loopwright.core.call import Call, CallDetail
from loopwright.core.errors import BadRequest
from loopwright.kit.db import Database
from loopwright.kit.seal import PLAIN, Seal
from loopwright.kit.settings import CallsSettings

__all__ = [
    "CallFilter",
    "CallPage",
    "Calls",
    "Chart",
    "ChartAsk",
    "Counts",
    "Group",
    "Overview",
    "Point",
    "Savings",
    "Series",
    "Spread",
    "Summary",
    "TargetGroup",
]


class Calls:
    """The calls on record. Every method raises `Unavailable` while the database cannot answer.

    Totals (`summary`, `series`, `by`) come from roll-ups, which know series, key, tag, client, error and time, and keep
    counting calls that were deleted later. What they do not know together is counted from the newest 30,000 calls.
    """

    __slots__ = ("_db", "dashboards", "seal", "settings")

    def __init__(self, db: Database, settings: CallsSettings, seal: Seal = PLAIN) -> None:
        self._db = db
        self.seal = seal
        """Opens their texts."""
        self.dashboards = Dashboards(db)
        """Charts that people keep."""
        self.settings = settings
        """What is kept, and for how long."""

    async def page(self, filter: CallFilter, *, before: str | None = None, limit: int = 50) -> CallPage:  # noqa: A002
        """Calls that pass `filter`, newest first, older than the call `before`.

        Raises:
            BadRequest: `before` is no call id, `limit` is not in 1…1,000, a search text has no word, or texts are not kept.
        """
        pages.checked_limit(limit)
        self._check_text(filter)
        condition = await pages.condition_of(self._db, filter)
        if condition is None:
            return CallPage(calls=(), next=None)
        if before is not None:
            condition.before(before)
        if filter.text is not None:
            found = await search.find(self._db, filter, condition, limit + 1, self.seal)
            rows, onward = found.rows, found.searched_to
        else:
            rows, onward = await pages.newest(self._db, condition, limit + 1), None
        if len(rows) > limit:
            rows = rows[:limit]
            onward = str(rows[-1]["id"])
        return CallPage(calls=tuple(call_of(row) for row in rows), next=onward)

    async def newer(
        self,
        filter: CallFilter,  # noqa: A002
        *,
        after: str,
        ended_since: datetime | None = None,
        limit: int = 50,
    ) -> tuple[Call, ...]:
        """Calls that started after the call `after`, newest first: the latest `limit` of them.

        With `ended_since` also those that started before it, at most an hour, and ended since that moment.

        Raises:
            BadRequest: as `page`.
        """
        pages.checked_limit(limit)
        self._check_text(filter)
        rows: list[dict[str, Any]] = []
        for late in (None,) if ended_since is None else (None, False, True):
            condition = await pages.condition_of(self._db, filter)
            if condition is None:
                return ()
            if late is None or ended_since is None:
                condition.after(after)
            else:
                condition.late(after, ended_since, slow=late)
            rows += await self._newest(filter, condition, limit)
        # Each part is newest first and older than the one before.
        return tuple(call_of(row) for row in rows[:limit])

    async def _newest(self, asked: CallFilter, condition: pages.Condition, limit: int) -> list[dict[str, Any]]:
        if asked.text is not None:
            return (await search.find(self._db, asked, condition, limit, self.seal)).rows
        return await pages.newest(self._db, condition, limit)

    async def get(self, call_id: str, *, project_id: int | None, wait: float = 3.0) -> CallDetail:
        """One call with its texts; waits up to `wait` seconds for a call of the last quarter of an hour to be drained.

        Raises:
            NotFound: there is none, it was deleted, or it belongs to another project.
        """
        return await pages.get(self._db, call_id, project_id=project_id, wait=wait, seal=self.seal)

    async def many(self, call_ids: Sequence[str]) -> dict[str, CallDetail]:
        """Those of some calls of any project that are on record, with their texts, by id. For work within the house.

        Raises:
            BadRequest: one is no call id.
        """
        return await pages.many(self._db, call_ids, self.seal)

    async def answer_of(self, key: bytes) -> Given | None:
        """The answer that the cache may give again to the question of `key`; None when it is gone or cannot be opened."""
        return await again.find(self._db, key, self.seal)

    async def answers_known(self, most: int) -> list[tuple[bytes, int]]:
        """(the first 8 bytes of its key, Unix seconds until which it is good) of such answers, those good for longest."""
        return await again.newest(self._db, most)

    async def answers_held(self, project_id: int | None) -> int:
        """How many such answers there are in a project; None is all."""
        return await again.count(self._db, project_id)

    async def questions_of(self, call_id: str) -> list[bytes]:
        """The key of the question that a call answered, if its answer may be given again."""
        return await again.questions_of(self._db, call_id)

    async def silence(self, *, project_id: int | None, questions: Sequence[bytes] = (), **named: Any) -> int:
        """Have the answers of calls, named as in `delete`, and all to some questions not given again; how many could have been.

        Raises:
            BadRequest: as `delete`.
        """
        return await silence(self._db, erase.Target(project_id=project_id, **named), questions)

    async def summary(self, filter: CallFilter) -> Summary:  # noqa: A002
        """Totals; without `since` of the last day.

        In whole steps of five minutes since yesterday, of hours before that, and of days (UTC) over more than two
        weeks: the result says from when to when.
        """
        return await overview.summary(self._db, filter)

    async def series(self, filter: CallFilter, *, points: int = 60) -> Series:  # noqa: A002
        """Totals over time in at most about `points` steps of a round length; without `since` of the last day.

        Raises:
            BadRequest: `points` is not in 1…1,000.
        """
        return await overview.series(self._db, filter, points)

    async def by(self, dimension: str, filter: CallFilter) -> list[Group]:  # noqa: A002
        """Totals for each value of `dimension`, most requests first; without `since` of the last day.

        Args:
            dimension: model, task, variant, prompt_version, target, provider, operation, key, client, error_code,
                outcome, session or tag:NAME; of the last three only calls that have one are counted.
            filter: which calls.

        Raises:
            BadRequest: there is no such dimension.
        """
        return await overview.by(self._db, dimension, filter)

    async def overview(self, filter: CallFilter, *, points: int = 60, dimension: str = "model") -> Overview:  # noqa: A002
        """`summary`, `series` and `by` in one, for a third of what the three cost; without `since` of the last day.

        Raises:
            BadRequest: `points` is not in 1…1,000.
        """
        return await overview.overview(self._db, filter, points, dimension)

    async def tag_names(self, project_id: int | None) -> list[str]:
        """The names of tags that calls can be split by; None is every project's."""
        rows = await self._db.rows(
            """select distinct name from call_slices
               where kind = 'tag' and (%(project)s::int is null or project_id = %(project)s) order by name limit 200""",
            {"project": project_id},
        )
        return [row["name"] for row in rows]

    async def chart(self, ask: ChartAsk) -> Chart:
        """Measures over time; without `since` of the last day.

        Raises:
            BadRequest: words are asked for, or a number of points that cannot be drawn.
        """
        return await charts.chart(self._db, ask)

    async def compared(self, ask: ChartAsk, back: timedelta | None = None) -> tuple[Chart, Chart]:
        """A chart, and the same of so long before (of the time just before it), in the same steps and with the same groups.

        Raises:
            BadRequest: as `chart`; or there were no calls that long ago.
        """
        return await charts.compared(self._db, ask, back)

    async def targets(self, filter: CallFilter, names: Mapping[str, str]) -> list[TargetGroup]:  # noqa: A002
        """Totals for each name and who answered for it, with a point for each hour (UTC); at most two weeks.

        Args:
            filter: which calls; without `since` of the last day.
            names: the names to look at, and the one each is counted under: itself, or whose alias it is.

        Raises:
            BadRequest: a longer time.
        """
        return await overview.targets(self._db, filter, names)

    async def savings(
        self,
        *,
        project_id: int | None,
        since: datetime,
        until: datetime | None = None,
        models: Sequence[str] | None = None,
    ) -> list[Savings]:
        """What cache and cascades saved and what was wasted, by day (UTC) and name; at most 92 days.

        Raises:
            BadRequest: a longer time.
        """
        return await savings.savings(self._db, project_id=project_id, since=since, until=until, models=models)

    async def delete(
        self,
        *,
        project_id: int | None,
        call_id: str | None = None,
        key_id: int | None = None,
        session: str | None = None,
        tag: tuple[str, str] | None = None,
    ) -> int:
        """Delete calls with their texts from tables, full text and spool; returns how many were on record.

        Exactly one of `call_id`, `key_id`, `session` and `tag` says which: all such calls begun before now. What
        still waits in a spool is dropped when it is drained, and its file goes within about two minutes.

        Raises:
            BadRequest: none of them, or more than one, or a call id that is none.
        """
        target = erase.Target(project_id=project_id, call_id=call_id, key_id=key_id, session=session, tag=tag)
        return await erase.delete(self._db, target, self.seal)

    def _check_text(self, asked: CallFilter) -> None:
        if asked.text is not None and not (self.settings.full_text and self.settings.payloads):
            raise BadRequest(
                "texts are not searched here: calls.full_text or calls.payloads is off in the settings", param="text"
            )
