"""What `doctor` examines of the database: that it answers, its version, pgvector, migrations, clock. Changes nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from loopwright.cli.doctor_encryption import examine_sealed
from loopwright.cli.finding import Finding, fail, ok, warn
from loopwright.core.errors import LoopwrightError, StartError
from loopwright.kit.db import Database
from loopwright.kit.migrations import migrations_of
from loopwright.kit.postgres_files import MAJOR, ROLE, account_for, check_version, programs
from loopwright.kit.settings import Settings
from loopwright.rooms import ROOMS

_SKEW: Final = 2.0


async def examine_database(settings: Settings, *, running: bool) -> list[Finding]:
    """The database of a URL; or the embedded one, from outside when it does not run."""
    url = settings.database.url
    if url is None:
        found, url = _embedded(settings.home / "pg", running=running)
        if url is None:
            return found
    else:
        found = []
    try:
        db = await Database.open(url, size=1)
    except StartError as error:
        return [*found, fail("database", error.message, "Then run `loopwright doctor` again")]
    try:
        return [*found, *await _inside(db), *await examine_sealed(db, settings)]
    except LoopwrightError as error:
        return [*found, fail("database", error.message, "See the database's own log")]
    finally:
        await db.close()


def _embedded(folder: Path, *, running: bool) -> tuple[list[Finding], str | None]:
    """What can be said of the embedded database without starting it, and its URL when it runs."""
    try:
        binaries = programs()
        if not (folder / "PG_VERSION").exists():
            return [ok("database", f"embedded PostgreSQL {MAJOR}, not made yet; `loopwright up` makes it")], None
        account_for(folder, binaries)
        check_version(folder)
    except StartError as error:
        what, _, todo = error.message.partition("; ")
        return [fail("database", what, todo or "See the message")], None
    url = _living(folder)
    if url is not None:
        return [], url
    if running:
        # Another Loopwright answers at our port, or ours uses another folder.
        text = f"the embedded PostgreSQL of {folder} does not run, though a server answers"
        return [warn("database", text, "Is LOOPWRIGHT_HOME the running server's?")], None
    return [ok("database", f"embedded PostgreSQL {MAJOR} in {folder}, starts with `loopwright up`")], None


def _living(folder: Path) -> str | None:
    """The URL of a running embedded server, from the file it writes about itself."""
    try:
        lines = (folder / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        pid, port, sockets = int(lines[0]), int(lines[3]), lines[4].strip()
    except (OSError, ValueError, IndexError):
        return None
    if not Path(f"/proc/{pid}").exists() or not sockets:
        return None  # a crash left the file
    return f"postgresql://{ROLE}@/{ROLE}?host={quote(sockets, safe='')}&port={port}"


async def _inside(db: Database) -> list[Finding]:
    row = await db.row("SELECT current_setting('server_version') AS version, version() AS whole")
    found = [ok("database", f"PostgreSQL {row['version'] if row else '?'} at {db.where} answers")]
    vector = await db.row(
        "SELECT installed_version, default_version FROM pg_available_extensions WHERE name = 'vector'"
    )
    if vector is None:
        todo = "Install it on the server, e.g. apt install postgresql-18-pgvector; managed services list it"
        found.append(fail("pgvector", "the database has no pgvector", todo))
    elif vector["installed_version"] is None:
        found.append(ok("pgvector", f"{vector['default_version']} is there; `loopwright up` enables it"))
    else:
        found.append(ok("pgvector", str(vector["installed_version"])))
    found.append(await _migrations(db))
    found.append(await _clock(db))
    return found


async def _migrations(db: Database) -> Finding:
    there = await db.row("SELECT to_regclass('schema_migrations') IS NOT NULL AS made")
    rows: list[dict[str, Any]] = []
    if there and there["made"]:
        rows = await db.rows("SELECT room, number, name, sha256 FROM schema_migrations ORDER BY room, number")
    wrong = list(_foreign(rows))
    if wrong:
        text = f"the database holds what this program does not know: {', '.join(wrong)}"
        return fail("migrations", text, "Upgrade Loopwright, or use another database")
    done = {(row["room"], row["number"]) for row in rows}
    pending = [one for room in ROOMS for one in migrations_of(room) if (one.room, one.number) not in done]
    if pending:
        return ok("migrations", f"{len(done)} applied, {len(pending)} pending; `loopwright up` applies them")
    return ok("migrations", f"{len(done)} applied, none pending")


def _foreign(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    known = {(one.room, one.number): one for room in {row["room"] for row in rows} for one in migrations_of(room)}
    for row in rows:
        migration = known.get((row["room"], row["number"]))
        label = f"{row['room']}/{row['number']:03d}_{row['name']}"
        if migration is None:
            yield label
        elif migration.sha256 != row["sha256"]:
            yield f"{label} (changed since it was applied)"


async def _clock(db: Database) -> Finding:
    """Half the round trip is taken off: what is left is the difference of the clocks."""
    before = time.time()
    row = await db.row("SELECT extract(epoch FROM clock_timestamp())::float8 AS now")
    after = time.time()
    theirs = float(row["now"]) if row else before
    skew = max(before - theirs, theirs - after, 0.0)
    if skew > _SKEW:
        text = f"the database's clock is {skew:.1f} s off this machine's"
        return warn("clock", text, "Set both by NTP: calls are put in order and into days by these times")
    return ok("clock", f"the database and this machine agree within {max(skew, after - before) * 1000:.0f} ms")
