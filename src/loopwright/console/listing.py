"""The list of calls: filters, search, pages, and what came since for the live tail."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from loopwright.app import App
from loopwright.console.asking import FAILED, OUTCOMES, RANGES, call_id_of, filter_of, given, moment_of, span_of
from loopwright.console.figures import milliseconds
from loopwright.console.overview import api_base, first_model
from loopwright.console.shell import View, Visit, project_asked
from loopwright.console.snippets import first_call
from loopwright.core.call import Call
from loopwright.core.money import usd
from loopwright.core.who import HOUSE
from loopwright.monitoring.scores import Scores

_PAGE = 50
_DRAINED = dt.timedelta(seconds=30)
"""A call that has ended is on record in this time, unless the recorder is behind."""
_FIELDS = (
    "range",
    "since",
    "until",
    "model",
    "key",
    "outcome",
    "error",
    "task",
    "variant",
    "prompt_version",
    "target",
    "provider",
    "operation",
    "client",
    "without",
    "session",
    "trace",
    "tag",
    "project",
    "min_cost_usd",
    "min_latency_ms",
    "q",
    "before",
    "after",
    "ended",
)
_MORE = (
    "task", "variant", "prompt_version", "target", "provider", "operation", "client", "without", "session", "trace", "tag",
    "error", "min_cost_usd", "min_latency_ms", "since", "until", "project",
)  # fmt: skip


class Listing:
    """Newest first, fifty a page. With `after`, only what is newer than that call, or has `ended` since then."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, visit: Visit) -> View:
        """Build the page."""
        params = visit.request.query_params
        span = span_of(params, default=None, now=dt.datetime.now(dt.UTC))
        asked = filter_of(params, span, project_id=await project_asked(self._app, visit))
        names = {key.id: key.name for key in await self._keys(visit)}
        after, before = call_id_of(params, "after"), call_id_of(params, "before")
        if after:
            ended = moment_of(params, "ended")
            calls, following = (
                await self._app.calls.newer(
                    asked, after=after, ended_since=None if ended is None else ended - _DRAINED, limit=_PAGE
                ),
                None,
            )
        else:
            page = await self._app.calls.page(asked, before=before, limit=_PAGE)
            calls, following = page.calls, page.next
        said = await Scores(self._app.db).of([call.id for call in calls])
        rows = [row_of(call, names) | {"scores": [each.shown() for each in said.get(call.id, ())]} for call in calls]
        filtered: dict[str, Any] = dict.fromkeys(_FIELDS) | given(params, _FIELDS)
        data: dict[str, Any] = {"filter": filtered, "calls": rows, "next": following}
        narrow = any(filtered.values())
        return View(
            data=data,
            drawn={
                "models": sorted({card["name"] for card in self._app.cards()} | {row["model"] for row in rows}),
                "keys": names,
                "outcomes": (*OUTCOMES, FAILED),
                "ranges": RANGES,
                "narrow": narrow,
                "more": any(filtered[name] for name in _MORE),
                "curl": first_call(api_base(visit), first_model(self._app, visit)) if not rows and not narrow else "",
            },
        )

    async def _keys(self, visit: Visit) -> tuple[Any, ...]:
        project = None if visit.who.admin else visit.who.project
        return await self._app.keys.list(project, revoked=True)


def row_of(call: Call, key_names: Mapping[int, str]) -> dict[str, Any]:
    """A call as built-in types, with units in the names."""
    return {
        "id": call.id,
        "started_at": call.started_at,
        "project_id": call.project_id,
        "key_id": call.key_id,
        "key": key_names.get(call.key_id) or (HOUSE.key_name if call.key_id == HOUSE.key_id else None),
        "operation": call.operation,
        "model": call.model,
        "target": call.target,
        "provider": call.provider,
        "outcome": call.outcome,
        "status": call.status,
        "error_code": call.error_code,
        "error": call.error,
        "finish": call.finish,
        "stream": call.stream,
        "input_tokens": call.input_tokens,
        "output_tokens": call.output_tokens,
        "cached_tokens": call.cached_tokens,
        "reasoning_tokens": call.reasoning_tokens,
        "usage_estimated": call.usage_estimated,
        "cost_usd": None if call.cost_nano is None else usd(call.cost_nano),
        "price_source": call.price_source,
        "ttft_ms": milliseconds(call.ttft_us),
        "tpot_ms": milliseconds(call.tpot_us),
        "latency_ms": milliseconds(call.latency_us),
        "client": call.client,
        "session": call.session,
        "trace_id": call.trace_id,
        "span_id": call.span_id,
        "parent_id": call.parent_id,
        "task": call.task,
        "variant": call.variant,
        "prompt_version": call.prompt_version,
        "tags": dict(call.tags),
    }
