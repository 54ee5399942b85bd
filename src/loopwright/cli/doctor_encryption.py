"""What `doctor` examines of encryption: the keys here, and whether they open what is on record. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from loopwright.cli.finding import Finding, fail, ok, warn
from loopwright.core.errors import StartError
from loopwright.encryption import Encryption
from loopwright.kit.db import Database
from loopwright.kit.keyring import keys_of, readable_by_others
from loopwright.kit.seal import Seal
from loopwright.kit.settings import Settings

_NAME: Final = "encryption"


def examine_keys(settings: Settings) -> Iterator[Finding]:
    """The keys that are configured; their ids only."""
    keys = [key.id for key in keys_of(settings.encryption)]
    if not keys:
        yield ok(_NAME, "off: prompts and answers are written as they are; docs/encryption.md says how to seal them")
        return
    others = f"; {', '.join(keys[1:])} opened, too" if keys[1:] else ""
    yield ok(_NAME, f"texts are sealed with key {keys[0]}{others}")
    file = settings.encryption.keys_file
    if file is not None and settings.encryption.keys is None and readable_by_others(file):
        yield fail(_NAME, f"{file} can be read by others", f"chmod 600 {file}, and if others use this machine, rotate")


async def examine_sealed(db: Database, settings: Settings) -> list[Finding]:
    """Whether what is on record can be opened, and what a rotation has before it."""
    made = await db.row(
        "select count(*) as columns from information_schema.columns where table_schema = current_schema()"
        " and (table_name, column_name) in (('call_payloads', 'sealed_by'), ('cache_entries', 'sealed_by'))"
    )
    if made is None or made["columns"] < 2:
        return []
    encryption = Encryption(db, settings, Seal.of(settings.encryption))
    try:
        await encryption.check()
    except StartError as error:
        what, _, todo = error.message.partition("; give")
        return [fail("sealed", what, f"Give{todo}" if todo else "See docs/encryption.md")]
    if not encryption.seal:
        return []
    left = encryption.left(await encryption.used())
    if left:
        todo = "`loopwright encryption rotate` seals them with it, while everything runs"
        return [warn("sealed", f"{left:,} fields are not sealed with key {encryption.seal.first}", todo)]
    return [ok("sealed", f"all that is on record is sealed with key {encryption.seal.first}")]
