"""The pages of traces: the list with its filters, one as a waterfall, one step of it. Names and texts are others'."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from jinja2.utils import htmlsafe_json_dumps
from starlette.routing import Route

from loopwright.app import App
from loopwright.console.asking import RANGES, float_of, nano_of, span_of
from loopwright.console.conversation import plain, pretty
from loopwright.console.overview import api_base
from loopwright.console.shell import Shell, View, Visit
from loopwright.core.errors import NotFound, Sealed
from loopwright.telemetry.shown import span_shown, trace_shown
from loopwright.telemetry.span import Span
from loopwright.telemetry.spoken import answer_of, question_of
from loopwright.telemetry.sums import within
from loopwright.telemetry.traces import Trace, TraceFilter, TraceRow, Traces, checked
from loopwright.telemetry.tree import Node

_PAGE: Final = 50
_FIELDS: Final = (
    "range", "since", "until", "name", "service", "model", "session", "result", "min_duration_ms", "min_cost_usd", "before",
)  # fmt: skip
_MORE: Final = ("session", "min_duration_ms", "min_cost_usd", "since", "until")
_WITHOUT_SCRIPT: Final = 200
"""Steps that a page shows where no script runs."""
_SPAN: Final = re.compile(r"[0-9a-fA-F]{16}")
_TEXT: Final = 60_000
_LOGS: Final = 50
"""Records that a step shows."""
_SHORT: Final = 300


class TracePages:
    """Everybody sees the traces of their project; administrators see all."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._app: App = shell.app

    def routes(self) -> list[Route]:
        """The list, one trace, one step."""
        return [
            *self._shell.page("/traces", "traces.html", self._list),
            *self._shell.page("/traces/{trace_id}/spans/{span_id}", "span.html", self._step),
            *self._shell.page("/traces/{trace_id}", "trace.html", self._one),
        ]

    async def _list(self, visit: Visit) -> View:
        traces = traces_of(self._app)
        filtered = {name: visit.asked(name) for name in _FIELDS}
        page = await traces.page(_filter(visit), before=filtered["before"], limit=_PAGE)
        data = {"filter": filtered, "traces": [row.shown() for row in page.traces], "next": page.next}
        narrow = any(filtered.values())
        return View(
            data=data,
            drawn={
                "rows": [_row(row) for row in page.traces],
                "services": await traces.services(visit.project_id),
                "models": sorted(card["name"] for card in self._app.cards()),
                "ranges": RANGES,
                "narrow": narrow,
                "more": any(filtered[name] for name in _MORE),
                "otlp": f"{api_base(visit).removesuffix('/v1')}/otlp",
            },
        )

    async def _one(self, visit: Visit) -> View:
        trace = await traces_of(self._app).get(visit.project_id, visit.request.path_params["trace_id"])
        shown = trace_shown(trace, nodes=False)
        twin = visit.request.url.path.endswith(".json")
        return View(
            data=trace_shown(trace) if twin else shown,
            drawn={
                "started": _moment(shown["started_at"]),
                # Jinja's own way of writing JSON takes ten times as long for thousands of rows.
                "columns": htmlsafe_json_dumps(columns_of(trace), dumps=_json),
                "few": [_line(node, trace) for node in trace.nodes[:_WITHOUT_SCRIPT]],
                "problem": None,
            },
        )

    async def _step(self, visit: Visit) -> View:
        params = visit.request.path_params
        traces, digits, step = traces_of(self._app), checked(params["trace_id"]), params["span_id"]
        span, sealed, call_id = None, None, visit.asked("call")
        line, parts = _line_of("", "other", 0, failed=False, service=""), list[dict[str, str]]()
        if _SPAN.fullmatch(step):
            try:
                span = await traces.spans.get(visit.project_id, digits, step)
            except Sealed as error:
                sealed = error.message
        if span is not None:
            call_id = span.call_id or call_id
            line = _line_of(span.name, span.kind, span.duration_us, failed=span.status == "error", service=span.service)
        elif sealed is None and call_id is None:
            # No span came of it: what stands for it in the tree.
            node = next((each for each in (await traces.get(visit.project_id, digits)).nodes if each.id == step), None)
            if node is None:
                raise NotFound(f"there is no step {step[:80]!r} in trace {digits}")
            call_id = None if node.call is None else node.call.id
            line = _line_of(node.name, node.kind, node.duration_us, failed=node.failed, service=node.service)
            parts = [{"title": "Failure", "text": plain(node.error)[:_TEXT]}] if node.error and not call_id else []
        said = await self._said(span, call_id, visit.project_id)
        logs = [] if sealed else await self._logged(visit.project_id, digits, step)
        data = {
            "trace_id": digits,
            "id": step,
            "name": line["name"] or said["name"],
            "call_id": call_id,
            "sealed": said["sealed"] or sealed,
            "parts": [*parts, *said["parts"], *logs],
            "span": None if span is None else span_shown(span),
        }
        return View(data=data, drawn={"line": line})

    async def _logged(self, project_id: int | None, trace_id: str, step: str) -> list[dict[str, str]]:
        """What its program logged meanwhile."""
        try:
            logs = await self._app.telemetry.logged.of_trace(project_id, trace_id)
        except Sealed:
            return []  # the step's own texts say so
        return [
            {
                "title": f"Logged {plain(log.name)[:200]}".strip(),
                "text": "\n".join(text for text in (_text(log.body), _text(dict(log.attributes))) if text)
                or "(nothing)",
            }
            for log in logs
            if log.span_id == step
        ][:_LOGS]

    async def _said(self, span: Span | None, call_id: str | None, project_id: int | None) -> dict[str, Any]:
        """Everything of a step that is text to read, each with its title."""
        parts = _parts(Failure=None if span is None else span.error)
        sealed, name = None, ""
        if call_id is not None:
            try:
                found = await self._app.calls.get(call_id, project_id=project_id, wait=0.0)
            except NotFound:
                call_id = None
            else:
                sealed, name = found.sealed, f"{found.call.operation} {found.call.model}"
                parts += _parts(
                    Failure=found.call.error if span is None else None,
                    Question=question_of(found.request),
                    Answer=answer_of(found.response),
                )
        if span is not None:
            given = {} if call_id is not None else {"Input": span.input, "Output": span.output}
            parts += _parts(**given, Attributes=dict(span.attributes) or None)
            parts += [
                (f"Event {plain(event.name)[:200]}", _text(dict(event.attributes)) or "(nothing said)")
                for event in span.events[:50]
            ]
            links = [
                {"trace": link.trace_id, "span": link.span_id, **dict(link.attributes)} for link in span.links[:50]
            ]
            parts += _parts(Links=links or None, Clipped=", ".join(span.clipped) or None)
        return {"parts": [{"title": title, "text": text} for title, text in parts], "sealed": sealed, "name": name}


def traces_of(app: App) -> Traces:
    """The traces of the house."""
    return Traces.of(app.db, app.calls.seal)


def columns_of(trace: Trace) -> dict[str, Any]:
    """A trace as the waterfall's script reads it: rows of numbers, and words that many rows share once."""
    words: dict[str, int] = {}

    places: dict[str | None, int] = {}

    def word(text: str | None) -> int:
        place = places.get(text)
        if place is None:
            place = places[text] = words.setdefault(plain(text or "")[:_SHORT], len(words))
        return place

    start, end = trace.totals.started_ns, trace.totals.started_ns + trace.totals.duration_us * 1000
    rows = []
    for node in trace.nodes:
        bits = (
            node.failed | node.critical << 1 | node.missing << 2 | node.cut << 3 | node.twice << 4 | node.inner << 5
            | node.unpriced << 6 | (not within(node, start, end)) << 7 | node.told << 8
        )  # fmt: skip
        rows.append(
            [
                node.id, node.depth, word(node.name), word(node.kind), (node.started_ns - start) // 1000, node.duration_us,
                bits, node.below, node.cost_nano or 0, word(node.model), word(node.error),
                "" if node.call is None else node.call.id, node.input_tokens, node.output_tokens, node.self_us,
                word(node.service), node.all_cost_nano, node.all_failed,
            ]
        )  # fmt: skip
    return {"trace": trace.trace_id, "total": trace.totals.duration_us, "words": list(words), "rows": rows}


def _filter(visit: Visit) -> TraceFilter:
    params = visit.request.query_params
    span = span_of(params, default=None, now=dt.datetime.now(dt.UTC))
    result = visit.asked("result")
    return TraceFilter(
        project_id=visit.project_id,
        since=span.since,
        until=span.until,
        name=visit.asked("name"),
        service=visit.asked("service"),
        model=visit.asked("model"),
        session=visit.asked("session"),
        failed={"failed": True, "ok": False}.get(result or ""),
        min_duration_ms=float_of(params, "min_duration_ms"),
        min_cost_nano=nano_of(params, "min_cost_usd"),
    )


def _row(row: TraceRow) -> dict[str, Any]:
    return {**row.shown(), "started_at": row.started_at, "ms": row.duration_us / 1000}


def _line(node: Node, trace: Trace) -> dict[str, Any]:
    """A step where no script draws it."""
    return {
        "id": node.id,
        "depth": min(node.depth, 12),
        "name": node.name,
        "kind": node.kind,
        "ms": node.duration_us / 1000,
        "at_ms": (node.started_ns - trace.totals.started_ns) / 1_000_000,
        "error": node.error,
    }


def _line_of(name: str, kind: str, duration_us: int, *, failed: bool, service: str) -> dict[str, Any]:
    return {"name": name, "kind": kind, "ms": duration_us / 1000, "failed": failed, "service": service}


def _parts(**values: object) -> list[tuple[str, str]]:
    told = [(title, _text(value)) for title, value in values.items()]
    return [(title, text) for title, text in told if text]


def _text(value: object) -> str:
    if value is None or value == "":
        return ""
    if isinstance(value, str):
        return value[:_TEXT]
    if isinstance(value, Mapping | list):
        return pretty(value, _TEXT)[0]
    return plain(value)[:_TEXT]


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _moment(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text)
