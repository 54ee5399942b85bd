"""A function of Python as an evaluator: `module:function`, only where the configuration of the house names it."""

from __future__ import annotations

import importlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Final

from loopwright.core.errors import BadRequest
from loopwright.core.score import Score
from loopwright.datasets.example import Example
from loopwright.evals.apart import Apart
from loopwright.evals.evaluator import Output, Tools
from loopwright.evals.plain import Plain

_NAMED: Final = re.compile(r"[A-Za-z_][\w.]{0,200}:[A-Za-z_]\w{0,100}")


@dataclass(frozen=True, slots=True, kw_only=True)
class PythonArgs:
    """Of `python`."""

    function: Annotated[
        str,
        "`module:function`; it takes the example and the output, and gives a Score, a number, whether "
        "it is right, a text (the label), or None (missing)",
    ]
    timeout: Annotated[float, "Seconds it may take"] = 30.0
    with_args: Annotated[dict[str, Any] | None, "Keyword arguments it gets besides"] = None


class PythonFunction(Plain[PythonArgs]):
    """What a Python function of yours finds; it may be async. Only where the configuration of the house names it."""

    __slots__ = ("_apart",)
    Args = PythonArgs
    most = None

    def prepare(self, tools: Tools) -> None:
        """Import it."""
        named = self.args.function
        if not tools.functions:
            raise BadRequest(
                f"{self.kind}: functions of Python may be named in the configuration of the house only,"
                " for they are programs that run in it",
                param="args.function",
            )
        if not _NAMED.fullmatch(named):
            raise BadRequest(
                f"{self.kind}: args.function is `module:function`, not {named[:80]!r}", param="args.function"
            )
        if not 0 < self.args.timeout <= 3600:
            raise BadRequest(f"{self.kind}: args.timeout is a number of seconds up to 3600", param="args.timeout")
        module, _, name = named.partition(":")
        try:
            function = getattr(importlib.import_module(module), name)
        except Exception as error:
            # The edge to code that is not ours: whatever its import raises, people need to know whose it is.
            said = f"{type(error).__name__}: {error}"[:300]
            raise BadRequest(f"{self.kind}: {named!r} cannot be imported: {said}", param="args.function") from error
        if not callable(function):
            raise BadRequest(f"{self.kind}: {named!r} is nothing that can be called", param="args.function")
        self._apart = Apart(named)

    async def measured(self, example: Example, output: Output) -> Score:
        """Call it, in a process of its own: nothing that it does holds up others.

        Raises:
            TimeoutError: it took too long, and was stopped.
            Exception: whatever it raises.
        """
        given = dict(self.args.with_args or {})
        return self._score(await self._apart.call(example, output, seconds=self.args.timeout, **given))

    def _score(self, found: Any) -> Score:
        if isinstance(found, Score):
            return replace(found, name=self.name)
        if isinstance(found, Mapping):
            return self._of_members(found)
        if isinstance(found, str):
            return Score(name=self.name, value=None, label=found[:500])
        if found is None or (isinstance(found, float) and not math.isfinite(found)):
            return self.missing("the function found nothing" if found is None else f"the function gave {found}")
        if isinstance(found, int | float):
            return self.verdict(found) if isinstance(found, bool) else self.figure(float(found))
        raise TypeError(
            f"{self.args.function} gave {type(found).__name__}: a Score, number, bool, text or None is wanted"
        )

    def _of_members(self, found: Mapping[str, Any]) -> Score:
        value = found.get("value")
        if value is not None and (not isinstance(value, int | float) or not math.isfinite(value)):
            return self.missing(f"the function gave the value {str(value)[:80]!r}")
        label, passed = found.get("label"), found.get("passed")
        return Score(
            name=self.name,
            value=None if value is None else float(value),
            label=None if label is None else str(label)[:500],
            passed=passed if isinstance(passed, bool) else None,
            missing="the function found nothing" if value is None and label is None else None,
            explanation=str(found.get("explanation", ""))[:5000],
        )
