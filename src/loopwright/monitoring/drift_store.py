"""What is watched for drift, in the database: watches, the calls that were looked at, what each look said, findings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final, Literal

import numpy as np
from psycopg.types.json import Jsonb

from loopwright.core.errors import BadRequest, Conflict, NotFound
from loopwright.kit.db import Connection, Database, plain
from loopwright.kit.seal import PLAIN, Seal
from loopwright.monitoring.drift_sample import Point, Sample
from loopwright.monitoring.drift_statistics import Vectors

Kind = Literal["task", "model"]
State = Literal["learning", "watching", "paused"]
PREFIX: Final = "task/"
_WATCH: Final = """id, project_id, kind, name, embedder, rolling as trailing, reference_size, window_size, per_day, alpha, state,
    seen_to::text, window_number, day, taken, topics, learnt_at, problem, created_at, created_by"""
_FINDING: Final = """f.id, f.watch_id, w.project_id, w.kind, w.name, f.number, f.calls, f.since, f.found_at, f.state,
    f.features, f.fresh::text[] as fresh, f.former::text[] as former, f.closed_at, f.closed_by"""
_KEPT: Final = 200
"""Windows whose looks are kept."""
_MOST_WATCHES: Final = 200
"""Of one project."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """A task or a model of one project, watched."""

    id: int
    project_id: int
    kind: Kind
    name: str
    embedder: str
    trailing: bool
    """Whether a window in which nothing moved becomes the reference."""
    reference_size: int
    window_size: int
    per_day: int
    alpha: float
    state: State
    seen_to: str | None
    window_number: int
    day: date
    taken: int
    topics: bytes | None
    learnt_at: datetime | None
    problem: str | None
    created_at: datetime
    created_by: str

    @property
    def subject(self) -> str:
        """As it is called: `task/NAME` or the model."""
        return PREFIX + self.name if self.kind == "task" else self.name

    @property
    def step(self) -> int:
        """Calls from one look to the next."""
        return max(5, self.window_size // 20)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something moved."""

    id: int
    watch_id: int
    project_id: int
    kind: Kind
    name: str
    number: int
    calls: int
    since: datetime
    found_at: datetime
    state: str
    features: Mapping[str, Any]
    fresh: Sequence[str]
    """Example calls of now."""
    former: Sequence[str]
    """Of then."""
    closed_at: datetime | None
    closed_by: str | None


class Drift:
    """The tables of drift. Every method raises `Unavailable` while the database cannot answer."""

    def __init__(self, db: Database, seal: Seal = PLAIN) -> None:
        self.db = db
        self.seal = seal

    # ---- watches ----

    async def watch(self, project_id: int, subject: str, by: str, **told: Any) -> Watch:
        """Begin to watch.

        Raises:
            BadRequest: the name is none, or there are too many.
            Conflict: it is watched already.
        """
        kind, name = subject_of(subject)
        row = await self.db.row("select count(*) as watches from drift_watches where project_id = %s", (project_id,))
        if row is not None and row["watches"] >= _MOST_WATCHES:
            raise BadRequest(f"a project watches at most {_MOST_WATCHES} tasks and models")
        made = await self.db.row(
            f"""insert into drift_watches (project_id, kind, name, embedder, rolling, reference_size, window_size, per_day,
                    alpha, seen_to, created_by)
                values (%(project)s, %(kind)s, %(name)s, %(embedder)s, %(trailing)s, %(reference)s, %(window)s,
                    %(per_day)s, %(alpha)s, %(seen_to)s::uuid, %(by)s)
                on conflict do nothing returning {_WATCH}""",  # noqa: S608 - columns of ours
            {"project": project_id, "kind": kind, "name": name, "by": by, **told},
        )
        if made is None:
            raise Conflict(f"{subject} is watched already: `loopwright drift list` shows it")
        return _watch(made)

    async def watches(self, project_id: int | None = None) -> Sequence[Watch]:
        """All of a project, or of all."""
        rows = await self.db.rows(
            f"select {_WATCH} from drift_watches where (%s::int is null or project_id = %s) order by kind, name, id",  # noqa: S608
            (project_id, project_id),
        )
        return [_watch(row) for row in rows]

    async def get(self, watch_id: int, *, project_id: int | None) -> Watch:
        """One of them.

        Raises:
            NotFound: there is none in the project.
        """
        row = await self.db.row(
            f"select {_WATCH} from drift_watches where id = %s and (%s::int is null or project_id = %s)",  # noqa: S608
            (watch_id, project_id, project_id),
        )
        if row is None:
            raise NotFound(f"there is no watch {watch_id}: `loopwright drift list` shows them")
        return _watch(row)

    async def remove(self, watch: Watch) -> None:
        """Stop watching, with all that was found."""
        await self.db.run("delete from drift_watches where id = %s", (watch.id,))

    async def change(self, watch: Watch, **values: Any) -> None:
        """Set columns of a watch."""
        sets = ", ".join(f"{name} = %({name})s" for name in values)
        await self.db.run(
            f"update drift_watches set {sets} where id = %(id)s",  # noqa: S608 - names of ours
            {**values, "id": watch.id},
        )

    # ---- the calls that were looked at ----

    async def counts(self, watch: Watch) -> dict[int, int]:
        """How many calls each window has; 0 is the reference."""
        rows = await self.db.rows(
            "select number, count(*) as calls from drift_points where watch_id = %s group by number", (watch.id,)
        )
        return {row["number"]: row["calls"] for row in rows}

    async def put(self, watch: Watch, points: Sequence[Point], number: int, *, seen_to: str, taken: int) -> None:
        """Keep calls that were looked at, and how far that is; of calls that are gone by now nothing."""
        async with self.db.transaction() as connection:
            for point in points:
                await connection.execute(_PUT.encode(), self._values(watch.id, number, point))
            await connection.execute(
                b"update drift_watches set seen_to = %s::uuid, problem = null,"
                b" taken = case when day = %s then taken else 0 end + %s, day = %s where id = %s",
                (seen_to, watch.day, taken, watch.day, watch.id),
            )

    async def sample(self, watch: Watch, number: int, limit: int = 10_000) -> Sample:
        """The calls of one window, oldest first.

        Raises:
            Sealed: a vector cannot be opened.
        """
        rows = await self.db.rows(
            """select call_id::text, key_id, input_length, output_length, language, output_language, refused, malformed,
                 topic, vector from drift_points where watch_id = %s and number = %s order by call_id limit %s""",
            (watch.id, number, limit),
        )
        return Sample([self._point(watch.id, row) for row in rows])

    async def group(self, watch: Watch, topics: Mapping[str, int]) -> None:
        """Say to which topic calls belong."""
        await self.db.run(
            """update drift_points p set topic = t.topic from unnest(%s::uuid[], %s::smallint[]) t (id, topic)
               where p.watch_id = %s and p.call_id = t.id""",
            (list(topics), list(topics.values()), watch.id),
        )

    def sealed_topics(self, watch: Watch, centres: Vectors) -> bytes:
        """As they are kept."""
        return self.seal.seal(centres.astype(np.float16).tobytes(), topics_about(watch.id))

    def topics(self, watch: Watch, dimensions: int) -> Vectors | None:
        """The centres of the topics: `[topics, dimensions]`.

        Raises:
            Sealed: they cannot be opened.
        """
        if watch.topics is None or not dimensions:
            return None
        flat = np.frombuffer(self.seal.open(watch.topics, topics_about(watch.id)), np.float16).astype(np.float32)
        return flat.reshape(-1, dimensions) if flat.size % dimensions == 0 else None

    # ---- looks and findings ----

    async def looks(self, watch: Watch, *, number: int | None = None, limit: int = 400) -> Sequence[Mapping[str, Any]]:
        """What looks said, oldest first; of one window, or the newest of all."""
        rows = await self.db.rows(
            """select number, calls, at, features from drift_looks where watch_id = %s
                 and (%s::int is null or number = %s) order by number desc, calls desc limit %s""",
            (watch.id, number, number, limit),
        )
        return rows[::-1]

    async def note(self, watch: Watch, calls: int, at: datetime, features: Mapping[str, Any]) -> None:
        """Keep what a look said."""
        await self.db.run(
            """insert into drift_looks (watch_id, number, calls, at, features) values (%s, %s, %s, %s, %s)
               on conflict (watch_id, number, calls) do update set at = excluded.at, features = excluded.features""",
            (watch.id, watch.window_number, calls, at, Jsonb(dict(features))),
        )

    async def found(self, watch: Watch, finding: Mapping[str, Any]) -> int:
        """Something moved: a finding, or what is open already brought up to date."""
        row = await self.db.row(
            """insert into drift_findings (watch_id, number, calls, since, features, fresh, former)
               values (%(watch)s, %(number)s, %(calls)s, %(since)s, %(features)s, %(fresh)s::uuid[], %(former)s::uuid[])
               on conflict (watch_id) where state = 'open' do update set calls = excluded.calls, number = excluded.number,
                 features = excluded.features, fresh = excluded.fresh, former = excluded.former
               returning id""",
            {
                **finding,
                "watch": watch.id,
                "number": watch.window_number,
                "features": Jsonb(dict(finding["features"])),
            },
        )
        assert row is not None
        return int(row["id"])

    async def findings(
        self, *, project_id: int | None, watch_id: int | None = None, state: str | None = None, limit: int = 100
    ) -> Sequence[Finding]:
        """The newest first."""
        rows = await self.db.rows(
            f"""select {_FINDING} from drift_findings f join drift_watches w on w.id = f.watch_id
                where (%(project)s::int is null or w.project_id = %(project)s)
                  and (%(watch)s::int is null or f.watch_id = %(watch)s)
                  and (%(state)s::text is null or f.state = %(state)s) order by f.id desc limit %(limit)s""",  # noqa: S608
            {"project": project_id, "watch": watch_id, "state": state, "limit": limit},
        )
        return [Finding(**row) for row in rows]

    async def close(self, watch: Watch, state: Literal["accepted", "dismissed", "passed"], by: str) -> int | None:
        """End the open finding of a watch; its id, None when there was none."""
        row = await self.db.row(
            """update drift_findings set state = %s, closed_at = now(), closed_by = %s
               where watch_id = %s and state = 'open' returning id""",
            (state, by, watch.id),
        )
        return None if row is None else int(row["id"])

    # ---- windows ----

    async def next_window(self, watch: Watch, *, absorb: bool) -> None:
        """End the window; with `absorb` its calls become the newest of the reference. The one before it goes."""
        async with self.db.transaction() as connection:
            if absorb:
                await self._absorb(connection, watch, watch.window_number)
            await connection.execute(
                b"delete from drift_points where watch_id = %s and number > 0 and number < %s",
                (watch.id, watch.window_number),
            )
            await connection.execute(
                b"delete from drift_looks where watch_id = %s and number < %s", (watch.id, watch.window_number - _KEPT)
            )
            await connection.execute(
                b"update drift_watches set window_number = window_number + 1 where id = %s", (watch.id,)
            )

    async def accept(self, watch: Watch, since: int) -> None:
        """What came since window `since` is normal from now on; the reference is learnt from it and what comes."""
        async with self.db.transaction() as connection:
            await connection.execute(b"delete from drift_points where watch_id = %s and number = 0", (watch.id,))
            await self._absorb(connection, watch, since)
            await self._restart(connection, watch)

    async def relearn(self, watch: Watch) -> None:
        """Forget what is normal: it is learnt anew from what comes."""
        async with self.db.transaction() as connection:
            await connection.execute(b"delete from drift_points where watch_id = %s", (watch.id,))
            await self._restart(connection, watch)

    async def _absorb(self, connection: Connection, watch: Watch, since: int) -> None:
        await connection.execute(
            b"""update drift_points p set number = 0 where watch_id = %s and number >= %s and not exists (
                  select from drift_points o where o.watch_id = p.watch_id and o.number = 0 and o.call_id = p.call_id)""",
            (watch.id, since),
        )
        await connection.execute(
            b"""delete from drift_points where watch_id = %s and number = 0 and call_id not in (
                  select call_id from drift_points where watch_id = %s and number = 0 order by call_id desc limit %s)""",
            (watch.id, watch.id, watch.reference_size),
        )

    async def _restart(self, connection: Connection, watch: Watch) -> None:
        await connection.execute(b"delete from drift_points where watch_id = %s and number > 0", (watch.id,))
        await connection.execute(
            b"""update drift_watches set state = 'learning', window_number = window_number + 1, topics = null,
                  learnt_at = null where id = %s""",
            (watch.id,),
        )

    # ---- what goes with its call ----

    async def sweep(self) -> int:
        """Let go of calls that are not on record any more; how many."""
        return await self.db.run(
            "delete from drift_points p where not exists (select from calls c where c.id = p.call_id)"
        )

    def _values(self, watch_id: int, number: int, point: Point) -> dict[str, Any]:
        packed = np.concatenate([point.input, point.output if point.output is not None else point.input[:0]])
        return {
            "watch": watch_id, "call": point.call_id, "number": number, "key": point.key_id,
            "input_length": point.input_length, "output_length": point.output_length, "language": point.language,
            "output_language": point.output_language, "refused": point.refused, "malformed": point.malformed,
            "topic": point.topic, "sealed_by": self.seal.first,
            "vector": self.seal.seal(packed.astype(np.float16).tobytes(), vector_about(watch_id, point.call_id)),
        }  # fmt: skip

    def _point(self, watch_id: int, row: Mapping[str, Any]) -> Point:
        sealed = self.seal.open(bytes(row["vector"]), vector_about(watch_id, row["call_id"]))
        vectors = np.frombuffer(sealed, np.float16).astype(np.float32)
        both = row["output_length"] is not None and vectors.size % 2 == 0
        half = vectors.size // 2 if both else vectors.size
        told = {name: row[name] for name in row if name != "vector"}
        return Point(**told, input=vectors[:half], output=vectors[half:] if both else None)


_PUT: Final = """
    insert into drift_points (watch_id, call_id, number, key_id, input_length, output_length, language, output_language,
        refused, malformed, topic, vector, sealed_by)
    select %(watch)s, %(call)s::uuid, %(number)s, %(key)s, %(input_length)s, %(output_length)s, %(language)s,
        %(output_language)s, %(refused)s, %(malformed)s, %(topic)s, %(vector)s, %(sealed_by)s
    where exists (select from calls where id = %(call)s::uuid)
    on conflict do nothing
"""


def subject_of(subject: str) -> tuple[Kind, str]:
    """What a name names: `task/NAME` or a model.

    Raises:
        BadRequest: nothing.
    """
    named = plain(subject.strip())
    name = named.removeprefix(PREFIX)
    if not name or len(name) > 200 or not name.isprintable():
        raise BadRequest("subject: `task/NAME` or the name of a model", param="subject")
    return ("task" if named.startswith(PREFIX) else "model"), name


def vector_about(watch_id: int, call_id: str) -> bytes:
    """What the vectors of a call are sealed for."""
    return f"drift_points.vector {watch_id} {call_id}".encode()


def topics_about(watch_id: int) -> bytes:
    """What the centres of a watch are sealed for."""
    return f"drift_watches.topics {watch_id}".encode()


def _watch(row: Mapping[str, Any]) -> Watch:
    return Watch(**{**row, "topics": None if row["topics"] is None else bytes(row["topics"])})
