"""What can be said of scoring the calls of a task as they go by, and what is wrong with it. See docs/online-evaluation.md."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Final

from loopwright.kit.nearest import hint
from loopwright.kit.settings_marks import Between, Dollars
from loopwright.kit.settings_read import KeyPath

_WORDS: Final = ("kind", "name", "args", "share")
_MOST: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorBudgetSettings:
    """What scoring the calls of a task may take in a day (UTC), on all machines together."""

    usd: Dollars | None = None
    """Money for judges; not set is without bound."""
    engine_seconds: Annotated[float, Between(low=0, high=86_400_000)] | None = None
    """Time of engines of ours, for judges and embeddings; not set is without bound, and only when nobody else needs them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorSettings:
    """Calls that are scored after they were answered, beside the road: no request ever waits for it."""

    evaluators: tuple[object, ...] = ()
    """What is found out: kinds of evaluators, or `{kind, name, args, share}`; `share` takes the place of the one below."""
    share: Annotated[float, Between(low=0, high=1)] = 0.1
    """Of its calls, those that are scored: drawn by the hash of a call's id, so the same everywhere and every time."""
    at_least: Annotated[int, Between(low=0, high=1_000_000)] = 60
    """Calls of each variant in an hour that are scored whatever the share, so that a rare one is seen, too."""
    budget: MonitorBudgetSettings = field(default_factory=MonitorBudgetSettings)
    """What it may take in a day; beyond that calls are passed over, and counted."""
    patience_hours: Annotated[float, Between(low=0.01, high=720)] = 24.0
    """A call that waited longer for an engine or a judge is passed over, and counted."""
    explanations: bool = True
    """Keep why a score is what it is, sealed as the texts of calls are."""


def monitor_problems(monitor: MonitorSettings) -> Iterator[tuple[KeyPath, str]]:
    """What cannot be meant, with its place."""
    if not 1 <= len(monitor.evaluators) <= _MOST:
        yield ("evaluators",), f"holds {len(monitor.evaluators)}; allowed: 1 to {_MOST}"
    names: set[str] = set()
    for at, each in enumerate(monitor.evaluators):
        path = ("evaluators", f"[{at}]")
        kind = each.get("kind") if isinstance(each, Mapping) else each
        if not isinstance(kind, str) or not kind:
            yield path, "allowed: the kind of an evaluator, or a mapping with kind, name, args and share"
            continue
        name: object = kind
        if isinstance(each, Mapping):
            for word in sorted(str(word) for word in each.keys() - {*_WORDS}):
                yield (*path, word), f"unknown{hint(word, _WORDS)}"
            if not isinstance(each.get("args", {}), Mapping):
                yield (*path, "args"), "allowed: a mapping"
            share = each.get("share", 0.5)
            if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
                yield (*path, "share"), "allowed: a number from 0 to 1"
            name = each.get("name", kind)
            if not isinstance(name, str) or not 1 <= len(name) <= 80:
                yield (*path, "name"), "allowed: a text of 1 to 80 characters"
                continue
        if str(name) in names:
            yield path, f"is called {str(name)!r} as one before it; allowed: a name of its own"
        names.add(str(name))
