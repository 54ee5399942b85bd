"""Entries and contradictions as REST and pages show them, and looking for words in what they say."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from loopwright.core.errors import Sealed
from loopwright.memory.conflicts import Contradiction
from loopwright.memory.entry import Entry
from loopwright.memory.store import Memory

_SCANNED: Final = 5_000
"""Entries that are read for one search."""
_AT_ONCE: Final = 500


def entry_shown(memory: Memory, entry: Entry) -> dict[str, Any]:
    """JSON of an entry; without its texts, and with the reason, where they cannot be opened."""
    said: dict[str, Any] = {"input": None, "output": None, "note": "", "sealed": None}
    try:
        lesson = entry.lesson(memory.seal)
        said |= {"input": dict(lesson.inputs), "output": lesson.output, "note": lesson.note}
    except Sealed as error:
        said["sealed"] = error.message
    state = entry.state(datetime.now(UTC))
    return {
        "id": entry.id,
        "project_id": entry.project_id,
        "task": entry.task,
        "state": "waiting" if state == "active" and entry.embedder is None else state,
        **said,
        "author": entry.author,
        "source": entry.source,
        "call_id": entry.call_id,
        "scope": dict(entry.scope),
        "embedder": entry.embedder,
        "expires_at": entry.expires_at,
        "superseded_by": entry.superseded_by,
        "created_at": entry.created_at,
    }


def conflict_shown(memory: Memory, found: Contradiction) -> dict[str, Any]:
    """JSON of a contradiction."""
    return {
        "id": found.id,
        "project_id": found.project_id,
        "task": found.task,
        "state": found.state,
        "similarity": round(found.similarity, 4),
        "older": entry_shown(memory, found.older),
        "newer": entry_shown(memory, found.newer),
        "kept": found.kept,
        "decided_by": found.decided_by,
        "decided_at": found.decided_at,
        "created_at": found.created_at,
    }


async def listed(
    memory: Memory,
    *,
    project_id: int | None,
    words: str | None = None,
    task: str | None = None,
    author: str | None = None,
    state: str | None = None,
    before: str | None = None,
    limit: int = 50,
) -> tuple[Sequence[dict[str, Any]], str | None]:
    """A page of entries, newest first, in which every one of `words` occurs; and the id to go on after.

    What is sealed cannot be searched by the database: of a search some thousand entries are read, then it goes on after
    the last of them.

    Raises:
        BadRequest: as `Memory.page`.
    """
    wanted = (words or "").casefold().split()
    if not wanted:
        page = await memory.page(
            project_id=project_id, task=task, author=author, state=state, before=before, limit=limit
        )
        return [entry_shown(memory, entry) for entry in page.entries], page.next
    found: list[dict[str, Any]] = []
    for _ in range(_SCANNED // _AT_ONCE):
        page = await memory.page(
            project_id=project_id, task=task, author=author, state=state, before=before, limit=_AT_ONCE
        )
        for entry in page.entries:
            shown = entry_shown(memory, entry)
            text = msgspec.json.encode([shown["input"], shown["output"], shown["note"]]).decode().casefold()
            if all(word in text for word in wanted):
                found.append(shown)
                if len(found) == limit:
                    return found, entry.id
        before = page.next
        if before is None:
            break
    return found, before
