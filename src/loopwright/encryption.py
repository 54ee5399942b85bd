"""What this house keeps sealed and with which keys, over all rooms; and sealing it anew with the first, step by step."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from loopwright.batches.sealed import batches_by_key
from loopwright.cache import resealing as answers
from loopwright.calls import resealing as texts
from loopwright.core.errors import BadRequest, Conflict, NotFound, StartError
from loopwright.datasets import resealing as examples
from loopwright.evals.ledger import keys_of_files
from loopwright.evals.resealing import SEALED as EVALUATIONS
from loopwright.feedback.resealing import SEALED as FEEDBACK
from loopwright.kit.blobs import Blobs
from loopwright.kit.db import Database
from loopwright.kit.seal import Seal
from loopwright.kit.settings import Settings
from loopwright.memory import resealing as memory
from loopwright.monitoring.resealing import COMPLAINTS, DRIFT
from loopwright.prompts.resealing import SEALED as PROMPTS
from loopwright.retrieval import rehashing as terms
from loopwright.retrieval.intake import FOLDER as WAITING
from loopwright.retrieval.resealing import SEALED as DOCUMENTS
from loopwright.runs.store import FOLDER as ARTIFACTS
from loopwright.tasks.resealing import SEALED as TASKS
from loopwright.telemetry import resealing as spans

BLOBS: Final = ("blobs", ARTIFACTS, WAITING)
"""Folders of the data folder: files that clients uploaded and batches wrote, of runs, and documents that wait to be read."""
JOURNALS: Final = "batches"
"""Folder of the finished lines of batches at work, in the data folder."""
LEDGERS: Final = "evaluations"
"""Folder of what evaluations at work have paid for, in the data folder."""
_FILES: Final = 8
"""Files of a step."""

ByKey = Mapping[str | None, int]
"""How many by the id of their key; None is not sealed."""


class Rows(Protocol):
    """Rows of the database that are sealed."""

    async def keys_used(self, db: Database) -> ByKey:
        """How many by the id of their key."""
        ...

    async def reseal(self, db: Database, seal: Seal) -> int:
        """Seal some with the first key; how many, 0 when all are."""
        ...


_ROWS: Final[Mapping[str, Rows]] = {
    "answers": answers,
    "feedback": FEEDBACK,
    "memory": memory,
    "prompts": PROMPTS,
    "tasks": TASKS,
    "examples": examples,
    "evaluations": EVALUATIONS,
    "documents": DOCUMENTS,
    "terms": terms,
    "spans": spans,
    "drift": DRIFT,
    "complaints": COMPLAINTS,
}
"""By kind, in the order in which they are told of and sealed anew. Texts of calls are too many for that: see `step`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What one step of a rotation did."""

    done: int
    """What was sealed anew."""
    after: str | None
    """Pass it to the next step; None at the end."""


@dataclass(frozen=True, slots=True)
class Encryption:
    """The sealed fields of one machine and its database."""

    db: Database
    settings: Settings
    seal: Seal

    async def used(self) -> dict[str, ByKey]:
        """How many by kind and key.

        What each kind is stands in `_NAMES`; a block of `texts` holds up to 32 calls. `spool`, `files`, `batches` and
        `ledgers` lie on this machine.

        Raises:
            Unavailable: the database cannot answer now.
        """
        return {
            "texts": await texts.texts_by_key(self.db),
            "words": await texts.words_by_key(self.db),
            **{kind: await rows.keys_used(self.db) for kind, rows in _ROWS.items()},
            "streams": await texts.streams_by_key(self.db),
            "spool": await asyncio.to_thread(texts.spooled_by_key, self.settings.home / "spool"),
            "files": await asyncio.to_thread(self._files),
            "batches": await asyncio.to_thread(batches_by_key, self.settings.home / JOURNALS),
            "ledgers": await asyncio.to_thread(keys_of_files, self.settings.home / LEDGERS),
        }

    def left(self, used: Mapping[str, ByKey]) -> int:
        """How much of `used` a rotation has before it. What is spooled or of a batch at work goes by itself."""
        return sum(
            count
            for kind, by_key in used.items()
            if kind not in ("spool", "batches", "ledgers")
            for key, count in by_key.items()
            if key != self.seal.first
        )

    async def check(self) -> None:
        """See that all that is sealed can be opened.

        Raises:
            StartError: names the keys that are missing, and what is sealed with them.
        """
        used = await self.used()
        missing: Counter[str] = Counter()
        where: dict[str, list[str]] = {}
        for kind, by_key in used.items():
            for key, count in by_key.items():
                if key is not None and key not in self.seal.ids:
                    missing[key] += count
                    where.setdefault(key, []).append(f"{count:,} {_NAMES[kind]}")
        if missing:
            told = "; ".join(f"key {key!r}: {', '.join(where[key])}" for key in sorted(missing))
            raise StartError(
                f"some of what is on record is sealed with keys that are not here ({told}); give them back in"
                f" LOOPWRIGHT_ENCRYPTION_KEYS or encryption.keys_file, after the key that is to seal"
            )
        for key in self.seal.ids:
            if used["texts"].get(key) and not await texts.opens(self.db, self.seal, key):
                raise StartError(
                    f"texts of calls are sealed with a key {key!r} that is not the one given here under this id:"
                    f" give back the one of then, and a new key an id of its own"
                )

    async def step(self, after: str | None) -> Step:
        """Seal a little anew with the first key: what is sealed with others and what is not.

        Raises:
            Conflict: there is no key.
            BadRequest: `after` is no place.
            Sealed: something cannot be opened; nothing of the step is done.
            Unavailable: the database cannot answer now; nothing of the step is done.
        """
        if not self.seal:
            raise Conflict("there is no key to seal with: set LOOPWRIGHT_ENCRYPTION_KEYS and start again")
        stage, _, place = (after or "answers:").partition(":")
        if stage == "answers":
            done = await texts.reseal_streams(self.db, self.seal)
            for rows in _ROWS.values():
                done += await rows.reseal(self.db, self.seal)
            return Step(done=done, after="answers:" if done else "files:")
        if stage == "files":
            done, last = await asyncio.to_thread(self._reseal_files, place)
            return Step(done=done, after="texts:" if last is None else f"files:{last}")
        if stage != "texts":
            raise BadRequest("after: this is no place that an earlier step told", param="after")
        try:
            begun = texts.Place.parse(place) if place else None
        except ValueError:
            raise BadRequest("after: this is no place that an earlier step told", param="after") from None
        done, reached = await texts.reseal_texts(self.db, self.seal, begun)
        if reached is None:
            indexed = self.settings.calls.full_text and self.settings.calls.payloads
            done += 0 if indexed else await texts.drop_words(self.db, self.seal)
        return Step(done=done, after=None if reached is None else f"texts:{reached}")

    def _files(self) -> ByKey:
        found: Counter[str | None] = Counter()
        for blobs in self._blobs().values():
            for name in blobs:
                try:
                    found[blobs.key_of(name)] += 1
                except NotFound:
                    continue  # deleted meanwhile
        return found

    def _blobs(self) -> dict[str, Blobs]:
        """Those that are there, by their folder."""
        home = self.settings.home
        return {name: Blobs(home / name, self.seal) for name in sorted(BLOBS) if (home / name).is_dir()}

    def _reseal_files(self, after: str) -> tuple[int, str | None]:
        folders, done, last = self._blobs(), 0, after
        names = sorted(f"{folder}/{name}" for folder, blobs in folders.items() for name in blobs)
        for place in names:
            if place <= after:
                continue
            if done >= _FILES:
                return done, last
            last = place
            folder, _, name = place.partition("/")
            try:
                if folders[folder].key_of(name) != self.seal.first:
                    folders[folder].reseal(name)
                    done += 1
            except NotFound:
                continue  # deleted meanwhile
        return done, None


_NAMES: Final[Mapping[str, str]] = {
    "texts": "blocks of calls",
    "words": "groups of the word index",
    "answers": "answers of the cache",
    "feedback": "texts of feedback",
    "memory": "corrections in memory",
    "prompts": "versions of prompts",
    "tasks": "definitions of tasks",
    "examples": "examples of datasets",
    "streams": "beginnings of streams",
    "spool": "spool files",
    "files": "files",
    "batches": "batches at work",
    "evaluations": "texts of evaluations",
    "documents": "documents and their chunks",
    "terms": "word indexes of collections",
    "spans": "blocks of spans and logs",
    "drift": "vectors of drift and answers of canaries",
    "complaints": "complaints of evaluators",
    "ledgers": "evaluations at work",
}


def shown(encryption: Encryption, used: Mapping[str, ByKey]) -> dict[str, Any]:
    """For people and programs; no key, only ids."""
    return {
        "on": bool(encryption.seal),
        "key": encryption.seal.first,
        "keys": list(encryption.seal.ids),
        "left": encryption.left(used) if encryption.seal else None,
        "fields": [
            {
                "kind": kind,
                "what": _NAMES[kind],
                "key": key,
                "count": count,
                "here": key in (None, *encryption.seal.ids),
            }
            for kind, by_key in used.items()
            for key, count in sorted(by_key.items(), key=lambda each: each[0] or "")
        ],
    }
