"""IFEval: whether an answer follows instructions that a program can check, strictly and loosely."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from loopwright.core.score import Score
from loopwright.datasets.example import Example
from loopwright.evals.evaluator import Method, Output
from loopwright.evals.ifeval_checks import CHECKS, Malformed
from loopwright.evals.plain import Plain, clipped
from loopwright.kit.nearest import hint

_MOST: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class IfevalArgs:
    """Of `ifeval`."""

    mode: Annotated[
        Literal["strict", "loose"],
        "`loose` also accepts the answer without its first line, its last line, both, or its asterisks",
    ] = "strict"


class Ifeval(Plain[IfevalArgs]):
    """Whether all instructions of an IFEval example (its metadata's `instruction_id_list`, `kwargs`) are followed."""

    Args = IfevalArgs
    method: Method = "benchmark"

    def find(self, example: Example, output: Output) -> Score:
        """1 when all are followed; which are stands in the details."""
        ids, kwargs = example.metadata.get("instruction_id_list"), example.metadata.get("kwargs")
        if not isinstance(ids, list | tuple) or not 1 <= len(ids) <= _MOST:
            return self.missing("the example's metadata has no instruction_id_list")
        if kwargs is None:
            kwargs = [{}] * len(ids)
        if not isinstance(kwargs, list | tuple) or len(kwargs) != len(ids):
            return self.missing("the example's metadata has not as many kwargs as instructions")
        text, cut = clipped(output.text)
        try:
            followed = follows(text, [str(each) for each in ids], kwargs, loose=self.args.mode == "loose")
        except Malformed as error:
            return self.missing(str(error)[:500])
        broken = [str(name) for name, kept in zip(ids, followed, strict=True) if not kept]
        why = f"not followed: {', '.join(broken)}" if broken else ""
        return self.verdict(not broken, why, instructions=list(ids), followed=followed, **cut)

    def aggregate(self, scores: Sequence[Score], /) -> Mapping[str, float]:
        """Accuracy by prompt and by instruction, as the paper tells them."""
        found = [score for score in scores if score.value is not None]
        each = [kept for score in found for kept in score.details.get("followed", ())]
        if not found or not each:
            return {}
        return {
            "prompt_accuracy": sum(score.value or 0.0 for score in found) / len(found),
            "instruction_accuracy": sum(each) / len(each),
        }


def follows(text: str, ids: Sequence[str], kwargs: Sequence[Any], *, loose: bool = False) -> list[bool]:
    """Whether each instruction is followed.

    Raises:
        Malformed: one is unknown, or its arguments are not what it takes; names it.
    """
    ways = loosened(text) if loose else [text]
    return [_one(ways, name, given) for name, given in zip(ids, kwargs, strict=True)]


def _one(ways: Sequence[str], name: str, given: Any) -> bool:
    check = CHECKS.get(name)
    if check is None:
        raise Malformed(f"there is no instruction {name[:80]!r}{hint(name[:80], CHECKS)}")
    if given is not None and not isinstance(given, Mapping):
        raise Malformed(f"{name}: its kwargs are no object")
    try:
        # An answer of nothing follows nothing.
        return any(way.strip() != "" and check(way, given or {}) for way in ways)
    except Malformed as error:
        raise Malformed(f"{name}: {error}") from None


def loosened(text: str) -> list[str]:
    """The ways a loose reader takes an answer: whole, without its first or last line or both, and without asterisks."""
    lines = text.split("\n")
    parts = [text, *("\n".join(some).strip() for some in (lines[1:], lines[:-1], lines[1:-1]))]
    return list(dict.fromkeys([*parts, *(part.replace("*", "") for part in parts)]))
