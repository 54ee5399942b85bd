"""Judges and their cards in the database: versions by name, the card of a version, whether it may gate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

import msgspec
from psycopg.types.json import Jsonb

from loopwright.core.errors import BadRequest, NotFound
from loopwright.evals.judge_card import KAPPA, Card, Trust, card_of, trust
from loopwright.evals.judge_definition import KNOWN, Definition, definition_of
from loopwright.evals.observation import MOST, Observation
from loopwright.kit.db import Database
from loopwright.kit.nearest import hint

_NAME: Final = 100
_UNNAMED: Final = "(no model)"
_COLUMNS: Final = "id, judge, sha, behind, card, author, created_at"


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A judge by name, in its newest version."""

    name: str
    number: int
    """0: it is there from the start."""
    args: Mapping[str, Any]
    author: str
    created_at: datetime | None

    def definition(self, model: str | None = None) -> Definition:
        """With this model, or its own.

        Raises:
            BadRequest: it has none of its own and none is named.
        """
        chosen = model or self.args.get("model")
        if not chosen:
            raise BadRequest(f"judge {self.name!r} has no model of its own: name one", param="model")
        return definition_of({**self.args, "model": chosen}, known={})

    def shown(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "name": self.name,
            "number": self.number,
            "definition": dict(self.args),
            "author": self.author,
            "created_at": None if self.created_at is None else self.created_at.isoformat(),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A card as it is kept."""

    id: int
    judge: str
    sha: str
    behind: str
    card: Card
    author: str
    created_at: datetime

    def stale(self, definition: Definition | None, behind: str | None = None) -> str | None:
        """Why it says nothing of the judge any more, None when it does.

        Args:
            definition: the judge as it is now, with the model of the card; None when there is none of the name.
            behind: what the name of the model leads to now; None is not known.
        """
        if definition is None:
            return "there is no judge of this name any more"
        if definition.sha != self.sha:
            return "the prompt or the parameters of the judge have changed"
        if behind is not None and self.behind and behind != self.behind:
            return f"model {self.card.model!r} now leads to {behind!r}, then to {self.behind!r}"
        return None


class Cards:
    """The judges of all projects and what is known of them."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def judges(self, project_id: int) -> tuple[Named, ...]:
        """Judges by name, those that are there from the start included; a project's own takes the place of such a one."""
        rows = await self._db.rows(
            "select distinct on (name) name, number, definition as args, author, created_at from judges"
            " where project_id = %s order by name, number desc",
            (project_id,),
        )
        own = {row["name"]: Named(**row) for row in rows}
        known = {
            name: Named(name=name, number=0, args=args, author="loopwright", created_at=None)
            for name, args in KNOWN.items()
        }
        return tuple(each for _, each in sorted({**known, **own}.items()))

    async def judge(self, project_id: int, name: str) -> Named:
        """One of them.

        Raises:
            NotFound: names the nearest.
        """
        found = {each.name: each for each in await self.judges(project_id)}
        if name not in found:
            raise NotFound(f"there is no judge {name[:80]!r}{hint(name[:80], found)}", param="judge")
        return found[name]

    async def put(self, project_id: int, name: str, args: Mapping[str, Any], *, author: str) -> Named:
        """A judge of this name, or the next version of it; the same definition again is the same version.

        Raises:
            BadRequest: the name or the definition cannot be used; `param` names what.
        """
        if not 0 < len(name) <= _NAME or not name.isprintable() or "/" in name or name != name.strip():
            raise BadRequest(f"name: 1 to {_NAME} printable characters without `/`", param="name")
        if "judge" in args:
            raise BadRequest("judge: a judge is told in full when it is named itself", param="args.judge")
        args = _storable(args)
        definition_of({"model": _UNNAMED, **args}, known={})
        async with self._db.transaction() as connection:
            await connection.execute(
                b"select pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"judge {name} of project {project_id}",)
            )
            cursor = await connection.execute(
                b"select name, number, definition as args, author, created_at from judges"
                b" where project_id = %s and name = %s order by number desc limit 1",
                (project_id, name),
            )
            last = await cursor.fetchone()
            if last is not None and last["args"] == dict(args):
                return Named(**last)
            cursor = await connection.execute(
                b"insert into judges (project_id, name, number, definition, author) values (%s, %s, %s, %s, %s)"
                b" returning name, number, definition as args, author, created_at",
                (project_id, name, 1 if last is None else last["number"] + 1, Jsonb(dict(args)), author),
            )
            row = await cursor.fetchone()
        assert row is not None
        return Named(**row)

    async def resolved(self, project_id: int, args: Mapping[str, Any]) -> dict[str, Any]:
        """Arguments of a judge that may name one, told in full: what an evaluation keeps and runs again from.

        Raises:
            NotFound: there is no judge of this name.
        """
        name = args.get("judge")
        if not isinstance(name, str):
            return dict(args)
        rest = {each: value for each, value in args.items() if each != "judge"}
        return {**(await self.judge(project_id, name)).args, **rest}

    async def add(
        self, project_id: int, card: Card, observed: Sequence[Observation], *, author: str, behind: str = ""
    ) -> Kept:
        """Keep a card and what it was made from.

        Raises:
            BadRequest: it was made from more than 20,000 observations.
        """
        if len(observed) > MOST:
            raise BadRequest(f"observations: {len(observed):,}, at most {MOST:,}", param="observations")
        row = await self._db.row(
            f"insert into judge_cards (project_id, judge, sha, behind, card, observations, author)"  # noqa: S608 - names of columns
            f" values (%s, %s, %s, %s, %s, %s, %s) returning {_COLUMNS}",
            (
                project_id,
                card.judge,
                card.sha,
                behind,
                Jsonb(card.as_json()),
                Jsonb([asdict(each) for each in observed]),
                author,
            ),
        )
        assert row is not None
        return _kept(row)

    async def page(
        self, project_id: int, judge: str | None = None, *, before: int | None = None, limit: int = 50
    ) -> tuple[Kept, ...]:
        """Cards, newest first; `before` is the id of the last one seen."""
        rows = await self._db.rows(
            f"select {_COLUMNS} from judge_cards where project_id = %(project)s"  # noqa: S608 - names of columns
            " and (%(judge)s::text is null or judge = %(judge)s)"
            " and (%(before)s::bigint is null or id < %(before)s) order by id desc limit %(limit)s",
            {"project": project_id, "judge": judge, "before": before, "limit": limit},
        )
        return tuple(_kept(row) for row in rows)

    async def versions(self, project_id: int, judge: str | None = None) -> tuple[Kept, ...]:
        """The newest card of each version of each judge, newest first: of the last thousand versions."""
        rows = await self._db.rows(
            f"select {_COLUMNS} from judge_cards where id in (select max(id) from judge_cards"  # noqa: S608 - names of columns
            " where project_id = %(project)s and (%(judge)s::text is null or judge = %(judge)s) group by judge, sha)"
            " order by id desc limit 1000",
            {"project": project_id, "judge": judge},
        )
        return tuple(_kept(row) for row in rows)

    async def latest(self, project_id: int, sha: str, *, behind: str | None = None) -> Kept | None:
        """The newest card of a version of a judge; of a model that leads elsewhere by now there is none."""
        row = await self._db.row(
            f"select {_COLUMNS} from judge_cards where project_id = %s and sha = %s order by id desc limit 1",  # noqa: S608 - names of columns
            (project_id, sha),
        )
        found = None if row is None else _kept(row)
        if found is not None and behind is not None and found.behind and found.behind != behind:
            return None
        return found

    async def observations(self, project_id: int, card_id: int) -> tuple[Observation, ...]:
        """What a card was made from.

        Raises:
            NotFound: there is no card of this id.
        """
        row = await self._db.row(
            "select observations from judge_cards where project_id = %s and id = %s", (project_id, card_id)
        )
        if row is None:
            raise NotFound(f"there is no card {card_id}", param="card_id")
        return tuple(msgspec.convert(row["observations"], list[Observation]))

    async def trust(
        self, project_id: int, args: Mapping[str, Any], *, bar: float = KAPPA, behind: str | None = None
    ) -> Trust:
        """Whether the judge of an evaluator's `args` may gate in a project: what a gate asks before it counts a score.

        Args:
            project_id: whose labels made the card.
            args: of an evaluator of kind `judge`.
            bar: kappa that it must surely have; a task's `bar`.
            behind: what the name of its model leads to now; None is not known.

        Raises:
            BadRequest, NotFound: `args` are none of a judge.
        """
        sha = definition_of(await self.resolved(project_id, args), known={}).sha
        kept = await self.latest(project_id, sha, behind=behind)
        return trust(None if kept is None else kept.card, bar)


def _storable(args: Mapping[str, Any]) -> dict[str, Any]:
    """The same as PostgreSQL keeps it: a number that is none is null."""
    try:
        raw = msgspec.json.encode(args)
        plain: dict[str, Any] = msgspec.json.decode(raw)
    except (msgspec.MsgspecError, TypeError, ValueError, RecursionError):
        raise BadRequest("definition: it is no JSON", param="definition") from None
    if b"\\u0000" in raw:
        raise BadRequest("definition: a text holds NUL, which cannot be kept", param="definition")
    return plain


def _kept(row: Mapping[str, Any]) -> Kept:
    return Kept(**{**row, "card": card_of(row["card"])})
