"""What was said of many calls at once, to stand beside them where calls are taken along. What cannot be opened is named."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from loopwright.core.errors import Sealed
from loopwright.feedback.given import parsed
from loopwright.feedback.store import Feedback, corrected_about, said_about


@dataclass(frozen=True, slots=True)
class Beside:
    """Of each call that something was said of, by its id: JSON, oldest first."""

    scores: Mapping[str, list[dict[str, Any]]] = field(default_factory=dict)
    corrections: Mapping[str, list[dict[str, Any]]] = field(default_factory=dict)


async def beside(feedback: Feedback, call_ids: Sequence[str], *, texts: bool) -> Beside:
    """What was said of some calls; without `texts`, no explanation, no output, no note.

    Raises:
        Unavailable: the database cannot answer now.
    """
    scores = await feedback.db.rows(
        """select id, call_id::text as call, name, value, label, passed, source, author, weight, explanation, created_at
           from feedback_scores where call_id = any(%s::uuid[]) order by created_at, id""",
        (list(call_ids),),
    )
    corrections = await feedback.db.rows(
        """select id, call_id::text as call, author, latest, body, created_at
           from feedback_corrections where call_id = any(%s::uuid[]) order by id""",
        (list(call_ids),),
    )
    said: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in scores:
        said[row["call"]].append(_score(feedback, row, texts=texts))
    corrected: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in corrections:
        corrected[row["call"]].append(_correction(feedback, row, texts=texts))
    return Beside(scores=said, corrections=corrected)


def _score(feedback: Feedback, row: Mapping[str, Any], *, texts: bool) -> dict[str, Any]:
    named = ("id", "name", "value", "label", "passed", "source", "author", "created_at")
    shown = {name: row[name] for name in named} | {"weight": round(row["weight"], 6)}
    if texts:
        place = said_about(row["call"], row["name"], row["source"], row["author"])
        try:
            explanation = "" if row["explanation"] is None else feedback.seal.open(bytes(row["explanation"]), place)
            shown["explanation"] = explanation.decode() if isinstance(explanation, bytes) else explanation
        except Sealed as error:
            shown |= {"explanation": None, "sealed": error.message}
    return shown


def _correction(feedback: Feedback, row: Mapping[str, Any], *, texts: bool) -> dict[str, Any]:
    shown = {name: row[name] for name in ("id", "author", "latest", "created_at")}
    if texts:
        try:
            body = parsed(feedback.seal.open(bytes(row["body"]), corrected_about(row["call"])))
            shown |= {"output": body.get("output"), "note": body.get("note", "")}
        except Sealed as error:
            shown |= {"output": None, "note": None, "sealed": error.message}
    return shown
