"""What was saved and what was wasted, summed from the tags of calls on record; raw calls, found by their index of tags."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

from loopwright.core.errors import BadRequest
from loopwright.core.notes import CASCADE, SAVED_USD, WASTED, WASTED_USD
from loopwright.kit.db import Database
from loopwright.kit.ids import floor_of

LONGEST: Final = timedelta(days=92)
_CACHE: Final = "loopwright.cache"
_AMOUNT: Final = r"^-?[0-9]{1,9}(\.[0-9]{1,9})?$"
"""Tags of these names could come from a client: what is no amount counts as nothing."""
_SUMS: Final = f"""
    with found as (
        select (c.started_at at time zone 'UTC')::date as day, c.series_id,
               c.tags->>'{_CACHE}' as cache, c.tags->>'{CASCADE}' as cascade,
               case when c.tags->>'{SAVED_USD}' ~ %(amount)s then (c.tags->>'{SAVED_USD}')::numeric else 0 end as saved,
               case when c.tags->>'{WASTED_USD}' ~ %(amount)s then (c.tags->>'{WASTED_USD}')::numeric else 0 end as wasted
        from calls c
        where c.id >= %(first)s::uuid and c.id < %(last)s::uuid
          and (%(project)s::int is null or c.project_id = %(project)s)
          and (c.tags @> '{{"{_CACHE}": "hit"}}' or c.tags @> '{{"{_CACHE}": "semantic-hit"}}'
               or c.tags @> '{{"{CASCADE}": "kept"}}' or c.tags @> '{{"{CASCADE}": "escalated"}}'
               or c.tags @> '{{"{WASTED}": "told"}}' or c.tags @> '{{"{WASTED}": "estimated"}}')
    )
    select f.day, s.model,
           count(*) filter (where f.cache is not null) as hits,
           count(*) filter (where f.cascade = 'kept') as kept,
           count(*) filter (where f.cascade = 'escalated') as escalated,
           (1e9 * coalesce(sum(f.saved) filter (where f.cache is not null), 0))::bigint as cache_nano,
           (1e9 * coalesce(sum(f.saved) filter (where f.cascade = 'kept'), 0))::bigint as cascade_nano,
           (1e9 * coalesce(sum(f.wasted), 0))::bigint as wasted_nano
    from found f join call_series s on s.id = f.series_id
    where %(models)s::text[] is null or s.model = any(%(models)s::text[])
    group by f.day, s.model order by f.day desc, s.model
"""  # noqa: S608  (names of our own tags)


@dataclass(frozen=True, slots=True, kw_only=True)
class Savings:
    """Of one day (UTC) and one name that was called."""

    day: date
    model: str
    hits: int
    """Answers from the cache."""
    kept: int
    """Answers of a cascade's cheap model that went out."""
    escalated: int
    cache_nano: int
    """Nanodollars that the answers given again had cost."""
    cascade_nano: int
    """Nanodollars that the dear model would have cost for the kept answers, less what the cheap one did."""
    wasted_nano: int
    """Nanodollars of answers nobody got: cheap ones that would not do, failed attempts, overtaken hedges."""


async def savings(
    db: Database,
    *,
    project_id: int | None,
    since: datetime,
    until: datetime | None = None,
    models: Sequence[str] | None = None,
) -> list[Savings]:
    """Newest day first, from the day of `since` on; only of `models` when given. Calls that were deleted no longer count.

    Raises:
        BadRequest: a longer time than `LONGEST`.
        Unavailable: the database cannot answer now.
    """
    end = until or datetime.now(UTC) + timedelta(seconds=1)
    begin = since.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if end - begin > LONGEST:
        raise BadRequest(f"savings are summed from calls, of at most {LONGEST.days} days", param="since")
    rows = await db.rows(
        _SUMS,
        {
            "amount": _AMOUNT,
            "first": floor_of(begin),
            "last": floor_of(end),
            "project": project_id,
            "models": None if models is None else list(models),
        },
    )
    return [Savings(**row) for row in rows]
