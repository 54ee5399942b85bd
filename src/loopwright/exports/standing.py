"""How each mirror is: how far, what went wrong, when it is tried again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from loopwright.exports import due
from loopwright.kit.db import Database
from loopwright.kit.settings_exports import ExportSettings

_LONGEST: Final = 300.0
"""Seconds between two tries of what does not work."""


@dataclass(frozen=True, slots=True)
class Standing:
    """The state of one exporter, in the database."""

    db: Database
    name: str

    async def read(self) -> dict[str, Any]:
        """Its row, made when it is not there; `due` says whether it may be tried now."""
        await self.db.run("insert into export_states (name) values (%s) on conflict do nothing", (self.name,))
        row = await self.db.row("select *, after <= now() as due from export_states where name = %s", (self.name,))
        assert row is not None
        return row

    async def sent(self, *, calls: int = 0, scores: int = 0, forgotten: int = 0, refused: str | None = None) -> None:
        """It worked; `refused` is why some of it will never be taken."""
        await self.db.run(
            """update export_states set sent = sent + %(calls)s, scores = scores + %(scores)s,
                   forgotten = forgotten + %(forgotten)s, sent_at = now(), tries = 0, after = now(),
                   refused = refused + (%(refused)s::text is not null)::int,
                   problem = %(refused)s, problem_at = case when %(refused)s::text is null then problem_at else now() end
               where name = %(name)s""",
            {"name": self.name, "calls": calls, "scores": scores, "forgotten": forgotten, "refused": refused},
        )

    async def scored_to(self, moment: datetime) -> None:
        """Scores said until then were sent."""
        await self.db.run("update export_states set scores_to = %s where name = %s", (moment, self.name))

    async def failed(self, why: str) -> float:
        """It did not work: it is tried again in the seconds that this answers."""
        row = await self.db.row(
            """update export_states set tries = tries + 1, problem = %(why)s, problem_at = now(),
                   after = now() + make_interval(secs => least(power(2, least(tries, 12)), %(longest)s))
               where name = %(name)s returning extract(epoch from after - now())::float8 as seconds""",
            {"name": self.name, "why": why[:500], "longest": _LONGEST},
        )
        return float(row["seconds"]) if row else _LONGEST


async def standings(db: Database, settings: Mapping[str, ExportSettings]) -> list[dict[str, Any]]:
    """Every exporter of the settings, by name, as REST shows it; its arguments are nobody's business."""
    rows = {row["name"]: row for row in await db.rows("select * from export_states")}
    left = await due.waiting(db)
    return [_shown(name, each, rows.get(name, {}), left.get(name, 0)) for name, each in sorted(settings.items())]


def _shown(name: str, settings: ExportSettings, row: Mapping[str, Any], left: int) -> dict[str, Any]:
    chosen = settings.filter
    wanted: dict[str, str | list[str] | None] = {"project": chosen.project, "model": chosen.model, "task": chosen.task}
    wanted |= {"outcome": chosen.outcome, "tag": chosen.tag, "tags": list(chosen.tags) or None}
    failing = bool(row.get("tries"))
    return {
        "name": name,
        "kind": settings.kind,
        "texts": settings.texts,
        "filter": {key: value for key, value in wanted.items() if value is not None},
        "state": "failing" if failing else "behind" if left else "new" if row.get("sent_at") is None else "current",
        "waiting": left,
        "sent": row.get("sent", 0),
        "scores": row.get("scores", 0),
        "forgotten": row.get("forgotten", 0),
        "refused": row.get("refused", 0),
        "sent_at": row.get("sent_at"),
        "problem": row.get("problem"),
        "problem_at": row.get("problem_at"),
        "next_try_at": row.get("after") if failing else None,
    }
