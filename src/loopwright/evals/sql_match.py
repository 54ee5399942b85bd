"""Execution match: whether a model's query gives the rows that the reference query gives, on a real database."""

from __future__ import annotations

import asyncio
import math
import re
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Final, Literal

from loopwright.core.errors import BadRequest
from loopwright.core.score import Score
from loopwright.datasets.example import Example
from loopwright.evals import extraction
from loopwright.evals.evaluator import Method, Output, Tools
from loopwright.evals.plain import Plain, references
from loopwright.evals.sql_sandbox import Cell, Failed, Result, Sandbox

_DIGITS: Final = 9
"""Significant digits of floating numbers that are compared."""
_ORDERED: Final = re.compile(r"\border\s{1,9}by\b", re.IGNORECASE)
_QUOTED: Final = re.compile(r"'[^']*'|\"[^\"]*\"|`[^`]*`|--[^\n]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlMatchArgs:
    """Of `sql_match`."""

    script: Annotated[
        str | None, "SQL that makes the database (`CREATE TABLE …; INSERT …;`, as `sqlite3 FILE .dump` writes it)"
    ] = None
    database: Annotated[
        str | None,
        "A file of SQLite on this machine, opened read only; only where the configuration of the house names it",
    ] = None
    order: Annotated[
        Literal["as_asked", "always", "never"],
        "Whether the order of rows counts: `as_asked` when the reference query has an ORDER BY",
    ] = "as_asked"
    timeout: Annotated[float, "Seconds a query may take"] = 2.0
    most_rows: Annotated[int, "Rows a query may give"] = 10_000


class SqlMatch(Plain[SqlMatchArgs]):
    """Whether the query in the answer gives the same rows as the expected query, run read only on SQLite."""

    __slots__ = ("_expected", "_sandbox")
    Args = SqlMatchArgs
    method: Method = "classic"

    def prepare(self, tools: Tools) -> None:
        """Open or build the database."""
        args = self.args
        if (args.script is None) == (args.database is None):
            raise BadRequest(f"{self.kind}: give args.script or args.database", param="args")
        if args.database is not None and not tools.functions:
            raise BadRequest(
                f"{self.kind}: files of this machine may be named in the configuration of the house only;"
                " give the database as args.script",
                param="args.database",
            )
        if not 0 < args.timeout <= 60 or not 0 < args.most_rows <= 1_000_000:
            raise BadRequest(
                f"{self.kind}: args.timeout is up to 60 seconds, args.most_rows up to 1,000,000", param="args"
            )
        self._sandbox = Sandbox(
            path=None if args.database is None else Path(args.database),
            script=args.script, seconds=args.timeout, most_rows=args.most_rows,
        )  # fmt: skip
        self._expected = lru_cache(maxsize=1024)(self._sandbox.run)

    async def measured(self, example: Example, output: Output) -> Score:
        """1 when the rows are the same. A thread runs both queries."""
        return await asyncio.to_thread(self.find, example, output)

    def find(self, example: Example, output: Output) -> Score:
        """1 when the rows are the same as those of one of the expected queries."""
        wanted = references(example)
        if not wanted:
            return self.missing("the example has no expected query")
        query = extraction.sql(output.text)
        if query is None:
            return self.verdict(passed=False, why="the answer holds no query", label="unread")
        expected: list[tuple[str, Result]] = []
        for each in wanted:
            try:
                expected.append((each, self._expected(each.strip().rstrip(";"))))
            except Failed as error:
                return self.missing(f"the expected query fails: {error}")
        try:
            given = self._sandbox.run(query)
        except Failed as error:
            return self.verdict(passed=False, why=f"the query fails: {error}", label="failed", query=query[:2000])
        same = any(alike(result, given, ordered=self._ordered(each)) for each, result in expected)
        why = "" if same else f"{len(given.rows)} rows where {len(expected[0][1].rows)} are expected, or others"
        return self.verdict(same, why, query=query[:2000], rows=len(given.rows))

    def _ordered(self, query: str) -> bool:
        if self.args.order != "as_asked":
            return self.args.order == "always"
        return is_ordered(query)


def is_ordered(query: str) -> bool:
    """Whether the query's own result (not that of a query within) is ordered."""
    plain = _QUOTED.sub("", query)
    depth, outer = 0, []
    for letter in plain:
        depth += (letter == "(") - (letter == ")")
        if depth <= 0:
            outer.append(letter)
    return _ORDERED.search("".join(outer)) is not None


def alike(one: Result, other: Result, *, ordered: bool) -> bool:
    """The same rows, as often; columns count by position, numbers by value."""
    if one.columns != other.columns or len(one.rows) != len(other.rows):
        return False
    first = [tuple(map(_plain, row)) for row in one.rows]
    second = [tuple(map(_plain, row)) for row in other.rows]
    return first == second if ordered else Counter(first) == Counter(second)


def _plain(cell: Cell) -> Cell:
    """1 and 1.0 are the same, and so are floating numbers that differ in their last digits."""
    if isinstance(cell, float):
        if not math.isfinite(cell):
            return str(cell)
        return int(cell) if cell.is_integer() and abs(cell) < 1e15 else float(f"{cell:.{_DIGITS}g}")
    return cell
