"""What `/metrics` tells: gathered from all processes of a machine, the engines and the database, at most once a second.

What is counted comes from files of the processes and is exact also while the database is away; what only the database
knows (limits, scores, alerts, objectives) is left out for that time, and `loopwright_database_up` is 0.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric

from loopwright import __version__
from loopwright.access.limits import Standing
from loopwright.app import App
from loopwright.calls.waiting import Waiting
from loopwright.core.errors import LoopwrightError, Unavailable
from loopwright.engines.endpoints import Endpoint
from loopwright.engines.kinds import engine_of
from loopwright.engines.protocol import Load
from loopwright.gateway.counted import buried
from loopwright.gateway.pulse import Pulse, Told, told
from loopwright.kit.cells import Sums, read
from loopwright.kit.http import HttpClient
from loopwright.kit.settings import Timeouts
from loopwright.laboratory import figures_told
from loopwright.laboratory.figures_counted import counted
from loopwright.laboratory.figures_told import Objective, Scored
from loopwright.monitoring.alerts import Alerts
from loopwright.monitoring.alerts_round import objectives_of
from loopwright.monitoring.objectives_standing import standings
from loopwright.monitoring.scores import ScoreFilter, Scores

_PATIENCE: Final = 2.0
"""Seconds that any one source may take: what is late is left out."""
_FRESH: Final = 1.0
_SLOW: Final = 15.0
"""Seconds that what takes the database some work is told again."""
_WORD: Final = re.compile(r"[A-Za-z0-9_.:@/ -]{1,80}")
_MOST_SCORES: Final = 300
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What the database told last."""

    limits: Sequence[Standing] = ()
    scores: Sequence[Scored] = ()
    alerts: Mapping[str, int] = field(default_factory=dict)
    objectives: Sequence[Objective] = ()


class _Whole:
    """Families as prometheus_client encodes them."""

    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Sequence[Metric]:
        """All of them."""
        return self._families


class Figures:
    """Tells how the house is. One for each worker; any number may ask at once."""

    def __init__(self, app: App, pulse: Pulse) -> None:
        """`pulse` is that of the process that is asked."""
        self._app = app
        self._folder = pulse.folder
        self._lock = asyncio.Lock()
        self._told: tuple[float, _Whole] | None = None
        self._known: tuple[float, _Known | None] = (float("-inf"), None)
        self._names: dict[int, str] = {}
        self._waited = (time.monotonic(), 0.0)
        self._late: set[asyncio.Task[Any]] = set()
        self._pulse = pulse

    async def text(self, accept: str) -> tuple[bytes, str]:
        """The page, and its content type: Prometheus' text, or OpenMetrics where `accept` asks for it."""
        encode, kind = choose_encoder(accept)
        async with self._lock:
            if self._told is None or time.monotonic() - self._told[0] > _FRESH:
                whole = _Whole(await self.families())
                self._told = (time.monotonic(), whole)
            whole = self._told[1]
        # A thousand series are some tens of milliseconds: requests go on meanwhile.
        return await asyncio.to_thread(encode, whole), kind

    async def families(self) -> list[Metric]:
        """All families, as of now."""
        sums, processes, loads, waiting, known = await asyncio.gather(
            asyncio.to_thread(read, self._folder, buried),
            asyncio.to_thread(self._processes),
            self._loads(),
            self._waiting(),
            self._asked(),
        )
        return await asyncio.to_thread(self._made, sums, processes, loads, waiting, known)

    def _made(
        self,
        sums: Sums,
        processes: Sequence[Told],
        loads: Mapping[str, Load],
        waiting: Waiting,
        known: _Known | None,
    ) -> list[Metric]:
        app = self._app
        build = GaugeMetricFamily("loopwright_build_info", "Which Loopwright this is.", labels=["version"])
        build.add_metric([__version__], 1)
        found: list[Metric] = [build, *counted(sums.rows, self._name)]
        found += figures_told.processes(processes)
        found += figures_told.engines(app.engines(), loads)
        found += figures_told.spool(waiting, app.spool.used, app.settings.calls.spool_limit, database=known is not None)
        if known is not None:
            found += figures_told.limits(known.limits)
            found += figures_told.watched(known.scores, known.alerts, known.objectives)
        return found

    def _processes(self) -> list[Told]:
        mine = self._pulse.now()
        return [mine, *(each for each in told(self._folder) if each.process != mine.process)]

    def _name(self, project: str) -> str:
        return self._names.get(int(project), project) if project.isdecimal() else project

    async def _waiting(self) -> Waiting:
        """What is not stored; while the database keeps us waiting, all that is spooled, and older than when it last told."""
        found = await self._soon(self._app.waiting())
        now = time.monotonic()
        if found is None:
            at, before = self._waited
            return Waiting(bytes=self._app.spool.used, seconds=before + now - at)
        self._waited = (now, found.seconds)
        return found

    async def _asked(self) -> _Known | None:
        """What the database tells; None while it does not answer."""
        at, known = self._known
        if known is not None and time.monotonic() - at < _SLOW:
            return known if await self._soon(self._app.db.row("select 1 as one")) else None
        known = await self._soon(self._ask())
        if known is not None:
            self._known = (time.monotonic(), known)
        return known

    async def _soon(self, asked: Coroutine[Any, Any, _T]) -> _T | None:
        """What comes of it, or None where it does not come in time. Calling it off is not waited for: that may take longer."""
        task = asyncio.create_task(asked)
        self._late.add(task)
        task.add_done_callback(self._late.discard)
        await asyncio.wait({task}, timeout=_PATIENCE)
        if not task.done():
            task.cancel()
            return None
        try:
            return task.result()
        except Unavailable:
            return None

    async def _ask(self) -> _Known:
        app = self._app
        self._names = {project.id: project.name for project in await app.projects.list()}
        return _Known(
            limits=await app.limits.standings(),
            scores=await self._scores(),
            alerts=await Alerts(app.db).counts(project_id=None),
            objectives=await self._objectives(),
        )

    async def _scores(self) -> list[Scored]:
        """Of evaluators only: names of scores that people give are texts of theirs."""
        found: list[Scored] = []
        since = datetime.now(UTC) - timedelta(hours=1)
        for project_id, project in list(self._names.items())[:_MOST_SCORES]:
            groups = await Scores(self._app.db).by("task", ScoreFilter(project_id=project_id, since=since))
            found += [
                Scored(
                    project=project,
                    task=str(group.value),
                    name=group.name,
                    mean=group.figure.mean,
                    count=group.figure.scores,
                )
                for group in groups
                if group.source != "person"
                and group.value
                and group.figure.mean is not None
                and _WORD.fullmatch(group.name)
            ]
        return found[:_MOST_SCORES]

    async def _objectives(self) -> list[Objective]:
        least: dict[tuple[str, str], float] = {}
        for each in await standings(self._app.db, objectives_of(self._app.settings), project_id=None):
            if each.budget.left is not None:
                who = (each.objective, self._names.get(each.project_id, str(each.project_id)))
                least[who] = min(least.get(who, 1.0), each.budget.left)
        return [Objective(name=name, project=project, left=left) for (name, project), left in least.items()]

    async def _loads(self) -> dict[str, Load]:
        endpoints = self._app.engines()
        found = await asyncio.gather(*(_load(endpoint) for endpoint in endpoints.values()))
        return {name: load for name, load in zip(endpoints, found, strict=True) if load is not None}


async def _load(endpoint: Endpoint) -> Load | None:
    """How busy an engine is, as it tells itself; None when it does not."""
    engine = engine_of(endpoint.kind)
    timeouts = Timeouts(connect=_PATIENCE, first_token=_PATIENCE, between_tokens=_PATIENCE, total=_PATIENCE)
    client = HttpClient(
        base_url=endpoint.url.removesuffix("/v1"),
        headers={"authorization": f"Bearer {endpoint.secret}"},
        timeouts=timeouts,
        limit=1,
    )
    pages: dict[str, bytes] = {}
    try:
        for page in engine.load_pages:
            reply = await client.request("GET", page)
            if reply.status == 200:
                pages[page] = reply.body
    except LoopwrightError:
        return None
    finally:
        await client.close()
    return engine.load(pages) if pages else None
