"""The round that mirrors calls to one place: oldest first, at least once, with back-off. Knows no protocol."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, ClassVar, Final
from uuid import UUID

from loopwright.core.call import Call, CallDetail
from loopwright.core.errors import LoopwrightError, Unavailable
from loopwright.exports import due
from loopwright.exports.exporter import Exporter, NotTaken, Said, made
from loopwright.exports.outgoing import Outgoing, Source, wordless
from loopwright.exports.standing import Standing
from loopwright.feedback.beside import beside
from loopwright.kit.db import Database
from loopwright.kit.settings_exports import ExportFilterSettings, ExportSettings

_TOGETHER: Final = 64
"""Calls of a request."""
_STEPS: Final = 200
"""Of a round: whoever waits for its lock, and our settings, come between."""
_SCORES: Final = 500
_LATE: Final = timedelta(minutes=2)
"""A transaction that says something of a call may take so long: what it said is dated when it began."""
ProjectOf = Callable[[str], Awaitable[int | None]]
MayLeave = Callable[[CallDetail], Awaitable[bool]]
_WORDS: Final = ("explanation", "output", "note", "sealed")


@dataclass(slots=True, kw_only=True)
class Mirror:
    """One exporter of the settings."""

    every: ClassVar[float] = 2.0
    db: Database
    source: Source
    settings: ExportSettings
    project_of: ProjectOf
    """The id of a project by its name; None when there is none."""
    may_leave: MayLeave
    """Whether the texts of a call may go there, by the policies of privacy."""
    called: str
    """Its name in the settings."""
    _exporter: Exporter | None = field(default=None, init=False)
    _project: int | None = field(default=None, init=False)
    _told: dict[int, datetime] = field(default_factory=dict, init=False)
    """Scores of the last minutes that were sent."""

    @property
    def name(self) -> str:
        """Its own among all rounds."""
        return f"exports.{self.called}"

    async def __call__(self) -> None:
        """Send what waits, a while long."""
        standing = Standing(self.db, self.called)
        state = await standing.read()
        if not state["due"]:
            return
        try:
            if self.settings.filter.project is not None:
                self._project = await self.project_of(self.settings.filter.project)
            await self._work(standing, state)
        except Unavailable:
            raise
        except NotTaken as error:
            await standing.failed(str(error))
        except LoopwrightError as error:
            await standing.failed(error.message)
        except Exception as error:
            # A plug-in's, whatever it is: people see it, the round logs it.
            await standing.failed(f"{type(error).__name__}: {error}")
            raise

    async def _work(self, standing: Standing, state: Mapping[str, Any]) -> None:
        exporter = self._exporter = self._exporter or made(self.settings)
        for _ in range(_STEPS):
            line = await due.first(self.db, self.called)
            if line is None:
                await self._score(exporter, standing, state["scores_to"])
                return
            if not line["gone"]:
                await self._send(exporter, standing, line)
            elif state["sent"] or (await standing.read())["sent"]:
                await self._forget(exporter, standing, line)
            else:
                await due.done(self.db, line["id"], [])  # nothing of it ever went there

    async def close(self) -> None:
        """Let go of connections."""
        if self._exporter is not None:
            await self._exporter.close()

    async def _send(self, exporter: Exporter, standing: Standing, line: Mapping[str, Any]) -> None:
        ids: list[UUID] = line["ids"]
        some, left = ids[:_TOGETHER], ids[_TOGETHER:]
        calls = await self._outgoing([str(each) for each in some])
        if calls:
            await self._divided(exporter, standing, calls)
        await due.done(self.db, line["id"], left)

    async def _divided(self, exporter: Exporter, standing: Standing, calls: Sequence[Outgoing]) -> None:
        """Send calls; of those that will not be taken together, each half, down to the one that is at fault."""
        try:
            await exporter.send(calls)
        except NotTaken as error:
            if error.again:
                raise
            if len(calls) == 1:
                await standing.sent(refused=f"call {calls[0].detail.call.id}: {error}")
                return
            for half in (calls[: len(calls) // 2], calls[len(calls) // 2 :]):
                await self._divided(exporter, standing, half)
        else:
            await standing.sent(calls=len(calls))

    async def _outgoing(self, ids: Sequence[str]) -> list[Outgoing]:
        found = await self.source.calls.many(ids)
        details = [found[each] for each in ids if each in found and self._wanted(found[each].call)]
        said = await beside(self.source.feedback, [each.call.id for each in details], texts=self.settings.texts)
        outgoing = []
        for each in details:
            texts = await self._worded(each)
            scores, corrections = said.scores.get(each.call.id, ()), said.corrections.get(each.call.id, ())
            outgoing.append(
                Outgoing(
                    detail=each if texts else wordless(each),
                    texts=texts,
                    scores=scores if texts else [_mute(one) for one in scores],
                    corrections=corrections if texts else [_mute(one) for one in corrections],
                )
            )
        return outgoing

    async def _worded(self, detail: CallDetail) -> bool:
        return self.settings.texts and await self.may_leave(detail)

    async def _forget(self, exporter: Exporter, standing: Standing, line: Mapping[str, Any]) -> None:
        traces: list[UUID] = line["ids"]
        some, left = traces[:_TOGETHER], traces[_TOGETHER:]
        asked = await exporter.forget([each.hex for each in some])
        if asked:
            await due.still_there(self.db, self.called, some)
            await standing.sent(forgotten=asked)
        await due.done(self.db, line["id"], left)

    async def _score(self, exporter: Exporter, standing: Standing, to: datetime) -> None:
        """Send what was said since; only when no call waits, for a score comes after its call."""
        fresh = await self.source.feedback.db.rows(
            """select id, call_id::text as call, created_at from feedback_scores
               where created_at > %s and not exists (
                   select from unnest(%s::bigint[], %s::timestamptz[]) as t (id, at)
                   where t.id = feedback_scores.id and t.at = feedback_scores.created_at)
               order by created_at, id limit %s""",
            (to - _LATE, list(self._told), list(self._told.values()), _SCORES),
        )
        if not fresh:
            return
        calls = await self.source.calls.many(sorted({row["call"] for row in fresh}))
        wanted = {name: each.call for name, each in calls.items() if self._wanted(each.call)}
        said = await beside(self.source.feedback, list(wanted), texts=self.settings.texts)
        ids = {row["id"] for row in fresh}
        worded = {name: await self._worded(calls[name]) for name in said.scores}
        scores = [
            Said(call=wanted[name], score=score if worded[name] else _mute(score))
            for name, each in said.scores.items()
            for score in each
            if score["id"] in ids
        ]
        if scores:
            await self._scored(exporter, standing, scores)
        newest = max(row["created_at"] for row in fresh)
        self._told |= {row["id"]: row["created_at"] for row in fresh}
        self._told = {name: at for name, at in self._told.items() if at > newest - 2 * _LATE}
        if newest > to:
            await standing.scored_to(newest)

    async def _scored(self, exporter: Exporter, standing: Standing, scores: Sequence[Said]) -> None:
        try:
            await exporter.score(scores)
        except NotTaken as error:
            if error.again:
                raise
            if len(scores) == 1:
                await standing.sent(refused=f"a score of call {scores[0].call.id}: {error}")
                return
            for half in (scores[: len(scores) // 2], scores[len(scores) // 2 :]):
                await self._scored(exporter, standing, half)
        else:
            await standing.sent(scores=len(scores))

    def _wanted(self, call: Call) -> bool:
        chosen: ExportFilterSettings = self.settings.filter
        if chosen.project is not None and call.project_id != self._project:
            return False
        for asked, has in ((chosen.model, call.model), (chosen.task, call.task), (chosen.outcome, call.outcome)):
            if asked is not None and asked != has:
                return False
        tags = (*chosen.tags, *(() if chosen.tag is None else (chosen.tag,)))
        return all(call.tags.get(name) == value for name, _, value in (tag.partition(":") for tag in tags))


def _mute(said: Mapping[str, Any]) -> dict[str, Any]:
    """What was said, without its words."""
    return {name: value for name, value in said.items() if name not in _WORDS}
