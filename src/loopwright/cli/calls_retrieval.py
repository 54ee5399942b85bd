"""What was looked up for a call, on a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from rich.text import Text

from loopwright.cli.screen import Column, clean, console, show_table

_OUTCOMES: Final[Mapping[str, str]] = {
    "grounded": "passages were shown; what of the answer stands on them, its citations say",
    "weak": "the evidence was weak; the model was asked all the same",
    "refused": "the evidence was weak; the answer says so, and no model was asked",
}
_TEXT: Final = 400
"""Characters of a passage."""


def show_retrieval(detail: Mapping[str, Any]) -> None:
    """Print what was searched for a call of a task, what was found, and what of it went into the prompt."""
    told = ((detail.get("request") or {}).get("loopwright") or {}).get("retrieval")
    if not isinstance(told, Mapping):
        return
    out = console()
    out.print()
    out.print(Text("looked up", style="bold magenta"))
    outcome = str(told.get("outcome"))
    out.print(Text(clean(_OUTCOMES.get(outcome, outcome))))
    for query in told.get("queries") or ():
        out.print(Text(clean(f"searched {', '.join(told.get('collections') or ())} for: {query}")))
    evidence, threshold = told.get("evidence"), told.get("threshold")
    if evidence is not None:
        enough = "" if threshold is None else f", enough from {threshold:.3f}"
        out.print(Text(f"evidence {evidence:.3f}{enough}"))
    removed = told.get("removed_citations") or ()
    if removed:
        out.print(Text(f"citations of passages that were not shown, taken out: {len(removed)}"))
    columns = (
        Column(title="no", right=True, weight=1),
        Column(title="score", right=True),
        Column(title="document", weight=3),
        Column(title="page", right=True),
        Column(title="in the prompt", weight=1),
        Column(title="text", weight=8, least=20),
    )
    cited = told.get("cited") or ()
    rows = [_row(each, cited) for each in told.get("candidates") or ()]
    if rows:
        show_table(columns, rows, empty="")


def _row(each: Mapping[str, Any], cited: Any) -> list[object]:
    number = each.get("number")
    shown = f"no: {each.get('left')}" if number is None else "cited" if number in cited else "yes"
    return [
        "" if number is None else number,
        f"{each.get('score', 0):.4g}",
        each.get("title") or each.get("document"),
        "" if each.get("page") is None else each["page"],
        shown,
        " ".join(str(each.get("text", "")).split())[:_TEXT],
    ]
