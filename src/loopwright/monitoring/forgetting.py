"""What was kept of calls for drift and canaries goes with them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from psycopg.types.json import Jsonb

from loopwright.kit.db import Database

_NAMED: Final = """
    (%(project)s::int is null or c.project_id = %(project)s)
    and (%(call)s::uuid is null or c.id = %(call)s::uuid) and (%(key)s::int is null or c.key_id = %(key)s)
    and (%(session)s::text is null or c.session = %(session)s) and (%(tag)s::jsonb is null or c.tags @> %(tag)s)
"""


async def forget_watched(
    db: Database,
    *,
    project_id: int | None,
    call_id: str | None = None,
    key_id: int | None = None,
    session: str | None = None,
    tag: tuple[str, str] | None = None,
) -> None:
    """Let go of what is kept of calls that are about to be deleted: by their id, or all of a key, session or tag.

    What a round takes in meanwhile goes with the next one, which begins with what is not on record any more.

    Raises:
        Unavailable: the database cannot answer now.
    """
    told = {
        "project": project_id,
        "call": call_id,
        "key": key_id,
        "session": session,
        "tag": None if tag is None else Jsonb({tag[0]: tag[1]}),
    }
    for table in ("drift_points", "canary_answers"):
        await db.run(f"delete from {table} p using calls c where c.id = p.call_id and {_NAMED}", told)  # noqa: S608
    if call_id is not None:  # a replay's, which may be on its way to the record still
        await db.run(
            """delete from canary_answers a using canary_runs r, canaries n where a.call_id = %s::uuid
               and r.id = a.run_id and n.id = r.canary_id and (%s::int is null or n.project_id = %s)""",
            (call_id, project_id, project_id),
        )


async def retain_canaries(db: Database, now: datetime, days: int) -> int:
    """Let go of replays that began so many days ago, with their answers; how many. What a canary is held against stays.

    Raises:
        Unavailable: the database cannot answer now.
    """
    return await db.run(
        """delete from canary_runs r where r.began_at < %s and r.state <> 'running'
           and not exists (select from canaries n where n.baseline_id = r.id)""",
        (now - timedelta(days=days),),
    )


async def forget_task(db: Database, project_id: int, name: str) -> int:
    """Remove the canaries of a task that is no more, with their answers: nobody could ask them again. How many.

    Raises:
        Unavailable: the database cannot answer now.
    """
    return await db.run(
        "delete from canaries where project_id = %s and (model = %s or starts_with(model, %s))",
        (project_id, f"task/{name}", f"task/{name}@"),
    )
