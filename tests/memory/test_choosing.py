from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from loopwright.memory.choosing import Fit, Near, choose, newest_of
from loopwright.memory.entry import Entry, Lesson
from tests.memory.remembering import vector

NOW = datetime.now(UTC)


def fit(number: int, text: str, output: str, *, asked: str, tokens: int = 10, **changes: Any) -> Fit:
    entry = Entry(
        id=f"{number:04d}", project_id=1, task="t", source="import", call_id=None, sha=text.encode(),
        output_sha=output.encode(), content=b"", embedder="words", author="ann", created_at=NOW, changed=number,
    )  # fmt: skip
    mine = np.asarray(vector(text), dtype=np.float32)
    near = Near(
        entry=replace(entry, **changes), similarity=float(mine @ np.asarray(vector(asked), np.float32)), vector=mine
    )
    return Fit(near=near, lesson=Lesson(inputs={"input": text}, output=output), tokens=tokens)


def outputs(found: list[Fit]) -> list[str]:
    return [str(each.lesson.output) for each in found]


def test_the_nearest_stands_last() -> None:
    asked = "my card is lost"
    found = [fit(1, "my card is lost today", "a", asked=asked), fit(2, "my card is here", "b", asked=asked)]
    found.append(fit(3, asked, "c", asked=asked))
    assert outputs(choose(found, k=3, tokens=100, diversity=0.0)) == ["b", "a", "c"]
    assert outputs(choose(found, k=2, tokens=100, diversity=0.0)) == ["a", "c"]


def test_ten_that_are_nearly_the_same_do_not_fill_it() -> None:
    asked = "why was my card payment declined at the shop"
    alike = [fit(at, f"{asked} number{at}", "declined", asked=asked) for at in range(10)]
    others = [
        fit(20, "why was my cash withdrawal at the machine declined", "cash", asked=asked),
        fit(21, "my card was charged twice at the shop", "twice", asked=asked),
    ]
    assert set(outputs(choose([*alike, *others], k=4, tokens=1000, diversity=0.0))) == {"declined"}
    assert {"cash", "twice"} <= set(outputs(choose([*alike, *others], k=4, tokens=1000, diversity=0.6)))


def test_the_budget_is_kept_and_what_is_smaller_still_fits() -> None:
    asked = "one two three"
    found = [
        fit(1, "one two three", "huge", asked=asked, tokens=900),
        fit(2, "one two", "small", asked=asked, tokens=40),
        fit(3, "one four", "tiny", asked=asked, tokens=20),
    ]
    assert outputs(choose(found, k=3, tokens=60, diversity=0.0)) == ["tiny", "small"]
    assert choose([], k=3, tokens=60, diversity=0.0) == []


def test_of_those_that_contradict_the_newest_counts_unless_both_may_stand() -> None:
    asked = "when does my card come"
    old, new = fit(1, asked, "in a week", asked=asked), fit(2, asked, "in two days", asked=asked)
    far = fit(3, "when does my statement come", "monthly", asked=asked)
    assert outputs(choose([old, new, far], k=3, tokens=100, diversity=0.0)) == ["monthly", "in two days"]
    both = [
        replace(one, near=replace(one.near, entry=replace(one.near.entry, beside=frozenset({other.near.entry.id}))))
        for one, other in ((old, new), (new, old))
    ]
    assert len(choose(both, k=3, tokens=100, diversity=0.0)) == 2
    same = fit(4, asked, "in two days", asked=asked)
    assert outputs(choose([new, same], k=3, tokens=100, diversity=0.0)) == ["in two days"]


def test_one_kept_to_calls_like_this_wins_over_a_newer_one() -> None:
    asked = "when does my card come"
    scoped = fit(1, asked, "in Germany: a week", asked=asked, scope={"market": "de"})
    new = fit(2, asked, "in two days", asked=asked)
    assert outputs(choose([scoped, new], k=3, tokens=100, diversity=0.0)) == ["in Germany: a week"]
    found = newest_of([scoped.near.entry, new.near.entry])
    assert found is not None
    assert found.id == scoped.near.entry.id
