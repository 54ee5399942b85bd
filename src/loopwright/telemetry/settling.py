"""Makes of events what they say: a score on the call they evaluate, texts for the call they describe. A round of the recorder.

Events come by another road than spans, before or after them, so they wait for their call, an hour at the most.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from loopwright.calls.late import add_texts
from loopwright.calls.rows import SELECT, call_of, day_of
from loopwright.calls.touching import OUTSIDE, TRACED
from loopwright.core.call import Call
from loopwright.core.errors import BadRequest
from loopwright.core.score import Score
from loopwright.feedback.given import Author, score_of
from loopwright.feedback.store import Feedback
from loopwright.kit.db import Database
from loopwright.kit.ids import floor_of
from loopwright.kit.seal import PLAIN, Seal
from loopwright.telemetry.events import said_in
from loopwright.telemetry.logs import SCORE, TEXTS
from loopwright.telemetry.packing import Packer, Said, about
from loopwright.telemetry.reading import heard
from loopwright.telemetry.recording import told
from loopwright.telemetry.span import Span

_SOME: Final = 500
"""Events of a round."""
_OLDEST: Final = 90
"""Days."""
_PATIENCE: Final = timedelta(hours=1)
_NO_NAME: Final = re.compile(r"[^\w.:/-]+")
_TEXT: Final = 4_000
_WAITING: Final = """
    select l.id, l.trace_id, l.span_id, l.at_ns, l.block, l.slot, l.pending, l.project_id, l.key_id, l.service, l.name
    from span_logs l where l.pending <> 0 and l.id > %s::uuid order by l.id limit %s
"""
# The span tells its call where the call came through our gateway; otherwise the call is the span.
_CALL: Final = f"""
    select {SELECT} from calls c join call_series s on s.id = c.series_id
    where c.project_id = %(project)s and (
        c.trace_id = %(trace)s and c.span_id = %(span)s and {TRACED}
        or c.id in (select p.call_id from spans p where p.trace_id = %(trace)s and p.span_id = %(span)s
                    and p.project_id = %(project)s and p.call_id is not null))
    limit 1
"""  # noqa: S608


@dataclass(frozen=True, slots=True)
class Settling:
    """Goes through what waits."""

    db: Database
    seal: Seal = PLAIN
    full_text: bool = True
    name: str = "telemetry.settle"
    every: float = 3.0

    async def __call__(self) -> None:
        """Go through it once."""
        await self.settle(datetime.now(UTC))

    async def settle(self, now: datetime) -> int:
        """Make of events what they say, as far as their calls are on record; of how many.

        Raises:
            Unavailable: the database cannot answer now.
            Sealed: an event cannot be opened.
        """
        done, after = 0, floor_of(now - timedelta(days=_OLDEST))
        while rows := await self.db.rows(_WAITING, (after, _SOME)):
            after = str(rows[-1]["id"])
            spans: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
            for row in rows:
                spans.setdefault((row["project_id"], row["trace_id"], row["span_id"]), []).append(row)
            for some in spans.values():
                done += await self._settle_span(some, now)
            if len(rows) < _SOME:
                break
        return done

    async def _settle_span(self, rows: Sequence[dict[str, Any]], now: datetime) -> int:
        call = await self._call(rows[0])
        if call is not None:
            told = [(row, said) for row in rows if (said := await self._said(row)) is not None]
            for row, said in told:
                if row["pending"] == SCORE:
                    await self._score(row, said, call)
            await self._add_texts([(row, said) for row, said in told if row["pending"] == TEXTS], call)
            settled = rows
        else:
            # When it came to us nothing tells. One whose own time is long past is looked at once.
            settled = [row for row in rows if datetime.fromtimestamp(row["at_ns"] / 1e9, UTC) < now - _PATIENCE]
        await self.db.run("update span_logs set pending = 0 where id = any(%s)", ([row["id"] for row in settled],))
        return 0 if call is None else len(rows)

    async def _call(self, row: Mapping[str, Any]) -> Call | None:
        if row["trace_id"] is None or row["span_id"] is None:
            return None
        found = await self.db.row(
            _CALL, {"project": row["project_id"], "trace": row["trace_id"], "span": row["span_id"]}
        )
        return None if found is None else call_of(found)

    async def _said(self, row: Mapping[str, Any]) -> Said | None:
        day = day_of(str(row["id"]))
        found = await self.db.row("select body from span_texts where day = %s and block = %s", (day, row["block"]))
        if found is None:
            return None
        texts: Sequence[Said | None] = Packer(self.seal).unpack(bytes(found["body"]), about(day, row["block"]))
        return texts[int(row["slot"])]

    async def _score(self, row: Mapping[str, Any], said: Said, call: Call) -> None:
        score = scored(_members(said))
        if score is not None:
            author = Author(name=(row["service"] or "otlp")[:80], source="code", key_id=row["key_id"])
            await Feedback(self.db, self.seal).score(call, score, author)

    async def _add_texts(self, told: Sequence[tuple[Mapping[str, Any], Said]], call: Call) -> None:
        """What events of a call say, one message each or all, becomes its texts, if it came without."""
        found = said_in((row["name"], _members(said)) for row, said in told)
        if found and call.client.startswith(OUTSIDE):
            request, answer = _texts(found, call)
            if request or answer:
                await add_texts(self.db, call.id, request, answer, seal=self.seal, full_text=self.full_text)


def _members(said: Said) -> dict[str, Any]:
    """Older programs say in the body what newer ones say in attributes."""
    return {**said.attributes, **(said.body if isinstance(said.body, dict) else {})}


def scored(attributes: Mapping[str, Any]) -> Score | None:
    """The score that an event `gen_ai.evaluation.result` gives; None when it gives none that can be kept."""
    value, label = attributes.get("gen_ai.evaluation.score.value"), attributes.get("gen_ai.evaluation.score.label")
    named = _NO_NAME.sub("_", str(attributes.get("gen_ai.evaluation.name", "evaluation"))).strip("_.:/-")[:80]
    number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
    passed = {"pass": True, "passed": True, "fail": False, "failed": False}.get(str(label).lower())
    explanation = attributes.get("gen_ai.evaluation.explanation")
    try:
        return score_of(
            named or "evaluation",
            value=number,
            label=label[:200] if isinstance(label, str) and label else None,
            passed=passed,
            explanation=explanation[:_TEXT] if isinstance(explanation, str) else "",
        )
    except BadRequest:
        return None


def _texts(attributes: Mapping[str, Any], call: Call) -> tuple[bytes, bytes]:
    started_ns = int(call.started_at.timestamp() * 1e9)
    span = Span(
        project_id=call.project_id,
        trace_id=call.trace_id,
        span_id=call.span_id,
        parent_id=call.parent_id,
        name="",
        kind="llm",
        started_ns=started_ns,
        duration_us=call.latency_us,
        status="unset",
    )
    return told(span, heard(attributes), call.operation, model=call.model, target=call.target, usage=None)
