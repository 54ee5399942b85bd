"""What an evaluation has: answers it paid for and what was found, first in a file of its own, then in the database.

A paid answer is appended to the file before it counts; a write is whole or, when the machine dies in it, a last line
without an end, which is cut off. From the file it goes to the table of answers, in one transaction with the results
that came of it and the numbers of the evaluation. So whatever process dies, nothing that was answered is paid twice.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import msgspec

from loopwright.core.errors import Sealed
from loopwright.evals.evaluation import Evaluation, Tally
from loopwright.evals.store import Evaluations, set_tally
from loopwright.kit.seal import Seal, key_of

SUFFIX: Final = ".paid"
_ANSWERS: Final = b"""
    insert into evaluation_answers (project_id, key, payload, sealed_by, payer)
    select %s, key, payload, %s, %s from unnest(%s::bytea[], %s::bytea[]) as new (key, payload)
    on conflict do nothing
"""
_RESULTS: Final = b"""
    insert into evaluation_results (evaluation_id, position, target, example_id, slices, answer_key, failed, cached,
        scores, cost_nano, latency_us, input_tokens, output_tokens, details, sealed_by)
    select %s, position, target, example_id, slices, answer_key, failed, cached,
        scores::double precision[], cost_nano, latency_us, input_tokens, output_tokens, details, %s
    from unnest(%s::integer[], %s::smallint[], %s::text[], %s::jsonb[], %s::bytea[], %s::boolean[],
        %s::boolean[], %s::text[],
        %s::bigint[], %s::bigint[], %s::integer[], %s::integer[], %s::bytea[])
        as new (position, target, example_id, slices, answer_key, failed, cached, scores,
            cost_nano, latency_us, input_tokens, output_tokens, details)
    on conflict do nothing
"""
_KNOWN: Final = """
    select key, payload, payer = %(id)s and not exists (
        select 1 from evaluation_results r where r.evaluation_id = %(id)s and r.answer_key = a.key) as mine
    from evaluation_answers a where project_id = %(project)s and key = any(%(keys)s)
"""
_INTEGER: Final = 2**31 - 1
_encode: Final = msgspec.json.encode


@dataclass(frozen=True, slots=True)
class Result:
    """What was found of one answer, as it is stored."""

    position: int
    target: int
    example_id: str
    slices: Mapping[str, str]
    answer_key: bytes | None
    failed: bool
    cached: bool
    scores: tuple[float | None, ...]
    cost_nano: int | None
    latency_us: int
    input_tokens: int
    output_tokens: int
    details: bytes
    """JSON."""


@dataclass(frozen=True, slots=True)
class Paid:
    """Something that was paid for before."""

    payload: bytes
    mine: bool
    """By this evaluation, before its process died: it counts as asked."""


class Ledger:
    """The file of one evaluation and its way into the database. For one process at a time."""

    def __init__(self, store: Evaluations, evaluation: Evaluation, path: Path, descriptor: int) -> None:
        self._store = store
        self._evaluation = evaluation
        self._path = path
        self._descriptor = descriptor
        self._size = 0
        self._seal: Seal = store.seal
        self._recalled: dict[bytes, bytes] = {}
        self._paid: dict[bytes, bytes] = {}
        self._moving: dict[bytes, bytes] = {}
        self._results: list[Result] = []
        self.tally: Tally = evaluation.tally

    @classmethod
    def open(cls, store: Evaluations, evaluation: Evaluation, folder: Path) -> Self:
        """Begin, or go on where a process before this one stopped."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = folder / f"{evaluation.id}{SUFFIX}"
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        ledger = cls(store, evaluation, path, descriptor)
        ledger._recall()
        return ledger

    def pay(self, key: bytes, payload: bytes) -> None:
        """Keep something that was paid for; from now on it is never paid again. `payload` is JSON without line breaks.

        Raises:
            OSError: the disk took it not.
        """
        view = memoryview(self._line(key, payload))
        length = len(view)
        try:
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError:
            os.ftruncate(self._descriptor, self._size)
            raise
        self._size += length
        self._paid[key] = payload

    def find(self, results: Sequence[Result], tally: Tally) -> None:
        """Keep what was found of one example, and count it."""
        self._results += results
        self.tally += tally

    async def known(self, keys: Sequence[bytes]) -> dict[bytes, Paid]:
        """What was paid for before, by key; what cannot be opened any more is not known.

        Raises:
            Unavailable: the database cannot answer now.
        """
        found = {key: Paid(self._recalled.pop(key), mine=True) for key in keys if key in self._recalled}
        for key in keys:
            payload = self._paid.get(key) or self._moving.get(key)
            if payload is not None and key not in found:
                found[key] = Paid(payload, mine=False)
        wanted = [key for key in keys if key not in found]
        if wanted:
            evaluation = self._evaluation
            where = {"id": evaluation.id, "project": evaluation.project_id, "keys": wanted}
            for row in await self._store.db.rows(_KNOWN, where):
                with suppress(Sealed):
                    key = bytes(row["key"])
                    found[key] = Paid(self._seal.open(bytes(row["payload"]), about(key)), mine=row["mine"])
        return found

    async def flush(self) -> None:
        """Move what came since to the database, and have the file outlive also a power cut.

        Raises:
            Unavailable: the database cannot answer now; all is kept, do it again.
        """
        paid, results, tally = self._paid, self._results, self.tally
        if not paid and not results:
            return
        self._paid, self._moving, self._results = {}, paid, []
        evaluation = self._evaluation
        try:
            os.fsync(self._descriptor)
            async with self._store.db.transaction() as connection:
                if paid:
                    await connection.execute(_ANSWERS, self._answer_values(paid))
                if results:
                    await connection.execute(_RESULTS, self._result_values(results))
                assignments, values = set_tally(tally)
                await connection.execute(
                    f"update evaluations set {assignments} where id = %s".encode(),  # noqa: S608 - names of fields
                    (*values, evaluation.id),
                )
        except BaseException:
            self._paid, self._results = paid | self._paid, results + self._results
            raise
        finally:
            self._moving = {}
        if not self._paid:  # nothing came meanwhile: all that the file holds is in the database
            os.ftruncate(self._descriptor, 0)
            self._size = 0

    def close(self) -> None:
        """Let go of the file; harmless when repeated."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def remove(self) -> None:
        """Close and forget: the evaluation is at its end, and all is in the database."""
        self.close()
        self._path.unlink(missing_ok=True)

    def _line(self, key: bytes, payload: bytes) -> bytes:
        if self._seal:
            return b"%b+%b\n" % (key.hex().encode(), base64.b64encode(self._seal.seal(payload, about(key))))
        return b"%b\t%b\n" % (key.hex().encode(), payload)

    def _recall(self) -> None:
        with self._path.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n") or line[64:65] not in {b"+", b"\t"}:
                    break
                key, payload = bytes.fromhex(line[:64].decode()), line[65:-1]
                if line[64:65] == b"+":
                    payload = self._seal.open(base64.b64decode(payload), about(key))
                self._recalled[key] = payload
                self._paid[key] = payload
                self._size += len(line)
        os.ftruncate(self._descriptor, self._size)

    def _answer_values(self, paid: Mapping[bytes, bytes]) -> tuple[object, ...]:
        evaluation, seal = self._evaluation, self._seal
        sealed = [seal.seal(payload, about(key)) for key, payload in paid.items()]
        return (evaluation.project_id, seal.first, evaluation.id, _bytes(paid), _bytes(sealed))

    def _result_values(self, results: Sequence[Result]) -> tuple[object, ...]:
        name, seal = self._evaluation.id, self._seal

        def column(value: Callable[[Result], object]) -> str:
            return _plain(value(each) for each in results)

        return (
            name,
            seal.first,
            column(lambda each: each.position),
            column(lambda each: each.target),
            _texts(each.example_id for each in results),
            _texts(_encode(each.slices).decode() if each.slices else None for each in results),
            _bytes(each.answer_key for each in results),
            column(lambda each: each.failed),
            column(lambda each: each.cached),
            _texts("{" + ",".join(map(_literal, each.scores)) + "}" for each in results),
            column(lambda each: each.cost_nano),
            column(lambda each: each.latency_us),
            column(lambda each: min(each.input_tokens, _INTEGER)),
            column(lambda each: min(each.output_tokens, _INTEGER)),
            _bytes(seal.seal(each.details, about_details(name, each.position, each.target)) for each in results),
        )


def keys_of_files(folder: Path) -> Mapping[str | None, int]:
    """Evaluations at work in `folder` whose file holds something, by the id of each key it is sealed with."""
    found: dict[str | None, int] = {}
    for path in folder.glob(f"*{SUFFIX}"):
        try:
            with path.open("rb") as file:
                keys = {_key(line) for line in file if line.endswith(b"\n")}
        except FileNotFoundError:
            continue  # its evaluation came to its end
        for key in keys:
            found[key] = found.get(key, 0) + 1
    return found


def about(key: bytes) -> bytes:
    """What a paid answer is sealed for."""
    return b"evaluation_answers " + key


def about_details(evaluation_id: str, position: int, target: int) -> bytes:
    """What the details of a result are sealed for."""
    return f"evaluation_results {evaluation_id} {position} {target}".encode()


def _key(line: bytes) -> str | None:
    return key_of(base64.b64decode(line[65:225])) if line[64:65] == b"+" else None


# Arrays as PostgreSQL writes them: the driver takes five times as long, element by element.


def _literal(value: object) -> str:
    return "NULL" if value is None else repr(value)


def _plain(values: Iterable[object]) -> str:
    """Of numbers and truths."""
    return "{" + ",".join(map(_literal, values)) + "}"


def _texts(values: Iterable[str | None]) -> str:
    escaped = (
        "NULL" if value is None else '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"' for value in values
    )
    return "{" + ",".join(escaped) + "}"


def _bytes(values: Iterable[bytes | None]) -> str:
    return "{" + ",".join("NULL" if value is None else f'"\\\\x{value.hex()}"' for value in values) + "}"
