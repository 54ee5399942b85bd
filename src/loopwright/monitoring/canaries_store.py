"""Canaries in the database: what is asked again and again, the answers of then and of now. Texts are sealed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

import msgspec
from psycopg.types.json import Jsonb

from loopwright.core.errors import BadRequest, Conflict, NotFound
from loopwright.kit.db import Database, plain
from loopwright.kit.seal import PLAIN, Seal

_CANARY: Final = """id, project_id, name, key_id, dataset, version, examples, model, parameters, repeats, every_s,
    budget_nano, alpha, state, baseline_id, next_at, problem, created_at, created_by"""
_RUN: Final = "id, canary_id, kind, state, began_at, ended_at, cost_nano, figures, problem"
_MOST: Final = 100
"""Canaries of a project."""


class Answer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One answer of a run, as it is sealed."""

    example: str
    """Its id in the dataset."""
    input: str
    """What was asked, clipped, for people."""
    text: str = ""
    tools: str = ""
    """Tool calls, as JSON."""
    error: str | None = None
    model: str = ""
    """Who answered, as the upstream says."""
    score: float | None = None

    @property
    def said(self) -> str:
        """What is compared."""
        return f"{self.text.strip()}\n{self.tools}" if self.tools else self.text.strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Canary:
    """A pinned dataset version, asked on a schedule."""

    id: int
    project_id: int
    name: str
    key_id: int
    dataset: str
    version: int
    examples: int
    model: str
    parameters: Mapping[str, Any]
    repeats: int
    every_s: float
    budget_nano: int | None
    alpha: float
    state: Literal["learning", "quiet", "changed", "paused"]
    baseline_id: int | None
    next_at: datetime
    problem: str | None
    created_at: datetime
    created_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One time that it was asked."""

    id: int
    canary_id: int
    kind: Literal["baseline", "replay"]
    state: str
    began_at: datetime
    ended_at: datetime | None
    cost_nano: int
    figures: Mapping[str, Any] | None
    problem: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """An answer where it lies."""

    position: int
    repeat: int
    call_id: str | None
    changed: bool | None
    answer: Answer


class Canaries:
    """Every method raises `Unavailable` while the database cannot answer."""

    def __init__(self, db: Database, seal: Seal = PLAIN) -> None:
        self.db = db
        self.seal = seal

    async def create(self, project_id: int, name: str, **told: Any) -> Canary:
        """A new one, due at once.

        Raises:
            BadRequest: the name is none, or there are too many.
            Conflict: there is one of this name.
        """
        named = plain(name.strip())
        if not named or len(named) > 100 or not named.isprintable() or "/" in named:
            raise BadRequest("name: 1 to 100 printable characters without `/`", param="name")
        if len(await self.list(project_id)) >= _MOST:
            raise BadRequest(f"a project has at most {_MOST} canaries")
        row = await self.db.row(
            f"""insert into canaries (project_id, name, key_id, dataset, version, examples, model, parameters, repeats,
                    every_s, budget_nano, alpha, created_by)
                values (%(project)s, %(name)s, %(key_id)s, %(dataset)s, %(version)s, %(examples)s, %(model)s,
                    %(parameters)s, %(repeats)s, %(every_s)s, %(budget_nano)s, %(alpha)s, %(by)s)
                on conflict do nothing returning {_CANARY}""",  # noqa: S608 - columns of ours
            {"project": project_id, "name": named, **told, "parameters": Jsonb(dict(told["parameters"]))},
        )
        if row is None:
            raise Conflict(f"there is a canary {named!r} already", param="name")
        return Canary(**row)

    async def list(self, project_id: int | None = None) -> Sequence[Canary]:
        """By name; of a project or of all."""
        rows = await self.db.rows(
            f"select {_CANARY} from canaries where (%s::int is null or project_id = %s) order by name, id",  # noqa: S608
            (project_id, project_id),
        )
        return [Canary(**row) for row in rows]

    async def due(self) -> Sequence[Canary]:
        """Those whose time has come."""
        rows = await self.db.rows(
            f"select {_CANARY} from canaries where state <> 'paused' and next_at <= now() order by next_at"  # noqa: S608
        )
        return [Canary(**row) for row in rows]

    async def get(self, canary_id: int, *, project_id: int | None) -> Canary:
        """One of them.

        Raises:
            NotFound: there is none in the project.
        """
        row = await self.db.row(
            f"select {_CANARY} from canaries where id = %s and (%s::int is null or project_id = %s)",  # noqa: S608
            (canary_id, project_id, project_id),
        )
        if row is None:
            raise NotFound(f"there is no canary {canary_id}: `loopwright canaries list` shows them")
        return Canary(**row)

    async def remove(self, canary: Canary) -> None:
        """With all its answers."""
        await self.db.run("delete from canaries where id = %s", (canary.id,))

    async def change(self, canary: Canary, **values: Any) -> None:
        """Set columns of a canary."""
        sets = ", ".join(f"{name} = %({name})s" for name in values)
        await self.db.run(
            f"update canaries set {sets} where id = %(id)s",  # noqa: S608 - names of ours
            {**values, "id": canary.id},
        )

    # ---- runs ----

    async def begin(self, canary: Canary, kind: Literal["baseline", "replay"]) -> Run:
        """A run begins; one that was broken off ends."""
        await self.db.run(
            """update canary_runs set state = 'stopped', ended_at = now(), problem = 'it was broken off'
               where canary_id = %s and state = 'running'""",
            (canary.id,),
        )
        row = await self.db.row(
            f"insert into canary_runs (canary_id, kind) values (%s, %s) returning {_RUN}",  # noqa: S608
            (canary.id, kind),
        )
        assert row is not None
        return Run(**row)

    async def keep(
        self, run: Run, position: int, repeat: int, answer: Answer, *, call_id: str | None, cost_nano: int
    ) -> None:
        """An answer came, and was paid for."""
        body = self.seal.seal(msgspec.json.encode(answer), answer_about(run.id, position, repeat))
        async with self.db.transaction() as connection:
            await connection.execute(
                b"""insert into canary_answers (run_id, position, repeat, call_id, body, sealed_by)
                    values (%s, %s, %s, %s::uuid, %s, %s) on conflict do nothing""",
                (run.id, position, repeat, call_id, body, self.seal.first),
            )
            await connection.execute(
                b"update canary_runs set cost_nano = cost_nano + %s where id = %s", (cost_nano, run.id)
            )

    async def end(
        self, run: Run, state: str, *, figures: Mapping[str, Any] | None = None, problem: str | None = None
    ) -> None:
        """What came of it."""
        await self.db.run(
            "update canary_runs set state = %s, ended_at = now(), figures = %s, problem = %s where id = %s",
            (state, None if figures is None else Jsonb(dict(figures)), problem, run.id),
        )

    async def mark(self, run: Run, changed: Mapping[int, bool]) -> None:
        """Which examples are answered anew."""
        await self.db.run(
            """update canary_answers a set changed = t.changed from unnest(%s::int[], %s::bool[]) t (position, changed)
               where a.run_id = %s and a.position = t.position""",
            (list(changed), list(changed.values()), run.id),
        )

    async def runs(self, canary: Canary, limit: int = 50) -> Sequence[Run]:
        """The newest first."""
        rows = await self.db.rows(
            f"select {_RUN} from canary_runs where canary_id = %s order by id desc limit %s",  # noqa: S608
            (canary.id, limit),
        )
        return [Run(**row) for row in rows]

    async def run(self, canary: Canary, run_id: int) -> Run:
        """One of them.

        Raises:
            NotFound: the canary has none of this id.
        """
        row = await self.db.row(
            f"select {_RUN} from canary_runs where canary_id = %s and id = %s",  # noqa: S608
            (canary.id, run_id),
        )
        if row is None:
            raise NotFound(f"canary {canary.name!r} has no run {run_id}")
        return Run(**row)

    async def spent_today(self, canary: Canary) -> int:
        """Nanodollars since midnight (UTC)."""
        row = await self.db.row(
            """select coalesce(sum(cost_nano), 0)::bigint as spent from canary_runs
               where canary_id = %s and began_at >= date_trunc('day', now() at time zone 'utc') at time zone 'utc'""",
            (canary.id,),
        )
        return 0 if row is None else int(row["spent"])

    async def answers(self, run_id: int) -> Sequence[Kept]:
        """In the order of the examples.

        Raises:
            Sealed: one cannot be opened.
        """
        rows = await self.db.rows(
            """select position, repeat, call_id::text, changed, body from canary_answers where run_id = %s
               order by position, repeat""",
            (run_id,),
        )
        return [
            Kept(
                position=row["position"],
                repeat=row["repeat"],
                call_id=row["call_id"],
                changed=row["changed"],
                answer=_answer(
                    self.seal.open(bytes(row["body"]), answer_about(run_id, row["position"], row["repeat"]))
                ),
            )
            for row in rows
        ]

    async def tidy(self, canary: Canary, keep: int) -> None:
        """Let go of the oldest replays; the baseline stays."""
        await self.db.run(
            """delete from canary_runs where canary_id = %(canary)s and id is distinct from %(baseline)s and id not in (
                 select id from canary_runs where canary_id = %(canary)s order by id desc limit %(keep)s)""",
            {"canary": canary.id, "baseline": canary.baseline_id, "keep": keep},
        )


_DECODER: Final = msgspec.json.Decoder(Answer)


def _answer(body: bytes) -> Answer:
    return _DECODER.decode(body)


def answer_about(run_id: int, position: int, repeat: int) -> bytes:
    """What an answer is sealed for."""
    return f"canary_answers.body {run_id} {position} {repeat}".encode()
