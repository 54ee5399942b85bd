"""Two runs side by side: what was set otherwise, what came out otherwise, and on which examples. Pure functions."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from loopwright.core.errors import BadRequest
from loopwright.runs.run import EXAMPLES, Run

_LINE: Final = 1_000_000
_CLIP: Final = 4_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One thing of both runs."""

    name: str
    a: Any
    """None where it is not there."""
    b: Any

    @property
    def same(self) -> bool:
        """Whether it is alike in both."""
        return bool(self.a == self.b)

    @property
    def change(self) -> float | None:
        """From a to b, of numbers."""
        both = [each for each in (self.a, self.b) if isinstance(each, int | float) and not isinstance(each, bool)]
        return both[1] - both[0] if len(both) == 2 else None

    def shown(self) -> dict[str, Any]:
        """As JSON."""
        return {"name": self.name, "a": self.a, "b": self.b, "same": self.same, "change": self.change}


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a run told of one example."""

    example_id: str
    scores: Mapping[str, float | None] = field(default_factory=dict)
    output: str | None = None
    inputs: Any = None
    expected: Any = None
    slice: str | None = None
    lower: frozenset[str] = frozenset()
    """Names of the scores of which less is better."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One example as both runs met it."""

    example_id: str
    inputs: Any
    expected: Any
    a: Told | None
    b: Told | None

    @property
    def change(self) -> float | None:
        """By how much the scores that both have are better in b, in the mean; None when they share none."""
        if self.a is None or self.b is None:
            return None
        moved = []
        for name in self.a.scores.keys() & self.b.scores.keys():
            before, after = self.a.scores[name], self.b.scores[name]
            if before is not None and after is not None:
                moved.append(before - after if name in self.b.lower else after - before)
        return sum(moved) / len(moved) if moved else None

    def shown(self) -> dict[str, Any]:
        """As JSON."""
        sides = {
            name: None if side is None else {"output": side.output, "scores": dict(side.scores)}
            for name, side in (("a", self.a), ("b", self.b))
        }
        told = {"example_id": self.example_id, "inputs": self.inputs, "expected": self.expected}
        return {**told, **sides, "change": self.change}


def settings_of(a: Run, b: Run) -> list[Row]:
    """Parameters, prompts, data, code and tags of both, those that differ first."""
    sides = []
    for run in (a, b):
        told: dict[str, Any] = {
            **run.params,
            "prompts": list(run.prompts) or None,
            "data": [f"{each.get('dataset')}@{each.get('number')}" for each in run.data] or None,
            "code": _code(run.code),
        }
        sides.append({**told, **{f"tag {name}": value for name, value in run.tags.items()}})
    return _rows(*sides)


def metrics_of(a: Run, b: Run) -> list[Row]:
    """The last value of each metric of both, by name."""
    values = [{name: metric.last for name, metric in run.metrics.items()} for run in (a, b)]
    return sorted(_rows(*values), key=lambda row: row.name)


def read(lines: Iterable[bytes], *, most: int) -> dict[str, Told]:
    """What the artifact `examples.jsonl` tells, by example; at most `most` of them.

    Raises:
        BadRequest: names the line that is none.
    """
    found: dict[str, Told] = {}
    for number, line in enumerate(lines, 1):
        if len(found) >= most:
            break
        if not line.strip():
            continue
        try:
            said = json.loads(line[:_LINE])
            told = _told(said)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise BadRequest(
                f"{EXAMPLES}: line {number} is no object with `example_id` and `scores`", param="path"
            ) from None
        found[told.example_id] = told
    return found


def pairs(a: Mapping[str, Told], b: Mapping[str, Told]) -> list[Pair]:
    """Each example of either, those that became worse from a to b first, then those that changed, then the rest."""
    found = [
        Pair(
            example_id=name,
            inputs=_either(a.get(name), b.get(name), "inputs"),
            expected=_either(a.get(name), b.get(name), "expected"),
            a=a.get(name),
            b=b.get(name),
        )
        for name in dict.fromkeys([*a, *b])
    ]
    return sorted(found, key=_order)


def tally(found: Sequence[Pair]) -> dict[str, int]:
    """How many became better, worse, stayed, or are only in one."""
    changes = [each.change for each in found if each.a is not None and each.b is not None]
    return {
        "both": len(changes),
        "better": sum(1 for change in changes if change is not None and change > 0),
        "worse": sum(1 for change in changes if change is not None and change < 0),
        "same": sum(1 for change in changes if change == 0),
        "only_a": sum(1 for each in found if each.b is None),
        "only_b": sum(1 for each in found if each.a is None),
    }


def _order(pair: Pair) -> tuple[int, float]:
    change = pair.change
    if change is None:
        return (3, 0.0)
    return (0, change) if change < 0 else (1, -change) if change > 0 else (2, 0.0)


def _rows(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[Row]:
    rows = [Row(name=name, a=a.get(name), b=b.get(name)) for name in dict.fromkeys([*a, *b])]
    kept = [row for row in rows if row.a is not None or row.b is not None]
    return sorted(kept, key=lambda row: row.same)


def _told(said: Mapping[str, Any]) -> Told:
    scores = {
        str(name)[:200]: float(value) if isinstance(value, int | float) else None
        for name, value in said.get("scores", {}).items()
    }
    output = said.get("output")
    return Told(
        example_id=str(said["example_id"])[:300],
        scores=scores,
        output=None if output is None else str(output)[:_CLIP],
        inputs=_clipped(said.get("inputs")),
        expected=_clipped(said.get("expected")),
        slice=None if said.get("slice") is None else str(said["slice"])[:200],
    )


def _clipped(value: Any) -> Any:
    written = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return value if len(written) <= _CLIP else written[:_CLIP] + "…"


def _either(a: Told | None, b: Told | None, what: str) -> Any:
    first = None if a is None else getattr(a, what)
    return getattr(b, what) if first is None and b is not None else first


def _code(code: Mapping[str, Any]) -> str | None:
    commit = code.get("commit")
    return None if commit is None else f"{str(commit)[:12]}{' (changed)' if code.get('dirty') else ''}"
