"""From spans as they came to what is stored: checked, read by the table of aliases, calls told from other steps. For a thread."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cache
from typing import Any, Final

from msgspec.structs import replace

from loopwright.calls.record import Record
from loopwright.core.who import Principal
from loopwright.telemetry.events import TOLD, said_in
from loopwright.telemetry.messages import documents, messages_of
from loopwright.telemetry.reading import CALLS, Heard, heard, tree, usage_of
from loopwright.telemetry.recording import PriceOf, record_of
from loopwright.telemetry.rows import made_id
from loopwright.telemetry.span import Span, SpanEvent, SpanLink, Status
from loopwright.telemetry.wire import Decoded, Source, WireSpan, note

_DAY_NS: Final = 86_400 * 10**9
_EPOCH: Final = date(1970, 1, 1)
_LONGEST_US: Final = 3_650 * 86_400 * 10**6
_STATUSES: Final[tuple[Status, ...]] = ("unset", "ok", "error")
_LOCAL: Final = frozenset(("127.0.0.1", "localhost", "::1", "0.0.0.0"))  # noqa: S104  (names of this machine)
_NO_TRACE: Final = bytes(16)
_NO_SPAN: Final = bytes(8)
_SAID: Final = 8_000
"""Characters of what was said of a failure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Under which spans are taken."""

    who: Principal
    price: PriceOf
    keeps: Callable[[str], bool]
    """Whether texts of calls of a model may be kept; of none for other steps."""
    oldest_ns: int
    latest_ns: int
    """A start outside is refused."""
    here: str = ""
    """Host and port by which the sender reaches us: what it asked there is on record already."""


@dataclass(slots=True)
class Step:
    """One span ready to be stored."""

    id: str
    day: date
    """Of its start, in UTC: where it is stored."""
    span: Span
    tags: Mapping[str, str]
    texts: bool
    record: Record | None = None


@dataclass(slots=True)
class Taken:
    """What a request comes to."""

    steps: list[Step] = field(default_factory=list)
    refused: int = 0
    message: str = ""


def take(decoded: Decoded[WireSpan], terms: Terms) -> Taken:
    """Read all spans of a request; those that cannot be kept are refused, each with its reason."""
    steps: list[Step] = []
    calls: list[tuple[Step, Heard]] = []
    seen: dict[bytes, int] = {}
    for source, spans in decoded.groups:
        for each in spans:
            reason = _unfit(each, terms)
            place = each.trace_id + each.span_id
            if reason is None and place in seen:
                if seen[place] == each.start:
                    continue  # the very same: the first one counts
                reason = "two spans with one id"
            if reason is not None:
                decoded.refuse(reason)
                continue
            seen[place] = each.start
            step, found = _step(each, source, terms)
            steps.append(step)
            if step.span.kind in CALLS:
                calls.append((step, found))
    if calls:
        _tell_calls(steps, calls, terms)
    return Taken(steps, decoded.refused, decoded.message)


def _tell_calls(steps: list[Step], calls: list[tuple[Step, Heard]], terms: Terms) -> None:
    _inherit(steps, [step for step, _ in calls])
    wrapped = _wrapped([step.span for step in steps], [step.span for step, _ in calls])
    for step, found in calls:
        span = step.span
        if (span.trace_id, span.span_id) not in wrapped and not _asked_here(found, terms.here):
            step.record = record_of(
                span, found, call_id=step.id, key_id=terms.who.key_id, price=terms.price, texts=step.texts
            )
            step.span = replace(span, call_id=step.id)


def _unfit(each: WireSpan, terms: Terms) -> str | None:
    if len(each.trace_id) != 16 or each.trace_id == _NO_TRACE:
        return "a trace id is not of 16 bytes, or zero"
    if len(each.span_id) != 8 or each.span_id == _NO_SPAN:
        return "a span id is not of 8 bytes, or zero"
    if each.start <= 0:
        return "a span has no start"
    if each.start > terms.latest_ns:
        return "a span begins in the future: see the sender's clock"
    if each.start < terms.oldest_ns:
        return "a span is older than calls are kept"
    return None


def _step(each: WireSpan, source: Source, terms: Terms) -> tuple[Step, Heard]:
    told = said_in((name, about) for _, name, about in each.events if name in TOLD) if each.events else {}
    if told:
        # What stands among the attributes themselves counts.
        each.attributes = told | each.attributes
        each.events = [event for event in each.events if event[1] not in TOLD]
    found = heard(each.attributes)
    trace_id, span_id = each.trace_id.hex(), each.span_id.hex()
    parent_id = each.parent_id.hex() if len(each.parent_id) == 8 and each.parent_id != _NO_SPAN else None
    if each.end < each.start and each.end:
        note(each.clipped, "end")
    if parent_id is None:
        _add_resource(found, source)
    is_call = found.kind in CALLS
    usage = usage_of(found) if is_call else None
    model = found.text("model")
    span = Span(
        project_id=terms.who.project_id,
        trace_id=trace_id,
        span_id=span_id,
        parent_id=parent_id,
        name=each.name,
        kind=found.kind,
        started_ns=each.start,
        duration_us=min(max(each.end - each.start, 0) // 1000, _LONGEST_US),
        status=_status(each, found),
        error=_error(each, found),
        service=source.service,
        scope=source.scope[:200],
        dialect=found.dialect,
        session=found.text("session"),
        user=found.text("user"),
        model=model,
        provider=found.text("provider"),
        tool=found.text("tool"),
        input_tokens=0 if usage is None else usage.input,
        output_tokens=0 if usage is None else usage.output,
        # Of a call they are on record with it.
        input=None if is_call else _given(found),
        output=None if is_call else _made(found),
        attributes=found.rest,
        events=[SpanEvent(at_ns=at, name=name, attributes=told) for at, name, told in each.events]
        if each.events
        else (),
        links=[SpanLink(trace_id=trace, span_id=to, attributes=told) for trace, to, told in each.links]
        if each.links
        else (),
        clipped=each.clipped,
    )
    texts = terms.keeps(model if is_call and model else "")
    row_id = made_id(each.start, each.trace_id + each.span_id)
    return Step(row_id, _day(each.start // _DAY_NS), span, found.tags, texts), found


@cache
def _day(number: int) -> date:
    """Days since 1970; as many are asked for as calls are kept."""
    return _EPOCH + timedelta(days=number)


def _add_resource(found: Heard, source: Source) -> None:
    """What is known of the program stands with the first span of a trace."""
    for name, value in source.resource.items():
        if name != "service.name":
            found.rest[f"resource.{name}"] = value
    environment = source.resource.get("deployment.environment.name", source.resource.get("deployment.environment"))
    if isinstance(environment, str) and environment:
        found.tags.setdefault("environment", environment[:200])


def _status(each: WireSpan, found: Heard) -> Status:
    if found.fields.get("level") == "ERROR":
        return "error"
    return _STATUSES[each.status] if 0 <= each.status < len(_STATUSES) else "unset"


def _given(found: Heard) -> Any:
    if "input" in found.fields:
        return found.fields["input"]
    if "input_messages" in found.parts:
        return messages_of(tree(found.parts["input_messages"]))
    return None


def _made(found: Heard) -> Any:
    if "documents" in found.parts:
        return documents(found.parts["documents"])
    if "output" in found.fields:
        return found.fields["output"]
    if "output_messages" in found.parts:
        return messages_of(tree(found.parts["output_messages"]))
    return None


def _error(each: WireSpan, found: Heard) -> str | None:
    for _, name, told in each.events:
        if name == "exception":
            kind, said = told.get("exception.type", ""), told.get("exception.message", "")
            return f"{kind}: {said}"[:_SAID] if kind and said else f"{kind}{said}"[:_SAID]
    if each.status == 2 or found.fields.get("level") == "ERROR":
        return (each.message or found.text("error") or "")[:_SAID] or None
    return None


def _inherit(steps: list[Step], calls: list[Step]) -> None:
    """A session that is told of some span of a trace is the session of its calls: most dialects tell the root only."""
    if all(step.span.session is not None for step in calls):
        return
    sessions: dict[str, set[str]] = {}
    for step in steps:
        if step.span.session:
            sessions.setdefault(step.span.trace_id, set()).add(step.span.session)
    for step in calls:
        found = sessions.get(step.span.trace_id)
        if step.span.session is None and found is not None and len(found) == 1:
            step.span = replace(step.span, session=next(iter(found)))


def _wrapped(spans: list[Span], calls: list[Span]) -> set[tuple[str, str]]:
    """Calls that hold another call: frameworks tell of a call, and so does the client that they call; it is one."""
    parents = {(span.trace_id, span.span_id): span.parent_id for span in spans}
    known, found = {(call.trace_id, call.span_id) for call in calls}, _beside(calls)
    for call in calls:
        trace, above, steps = call.trace_id, call.parent_id, 0
        while above is not None and steps < _ABOVE:
            if (trace, above) in known:
                found.add((trace, above))
                break
            above, steps = parents.get((trace, above)), steps + 1
    return found


def _beside(calls: Iterable[Span]) -> set[tuple[str, str]]:
    """The same where a framework does not put its span above that of the client.

    Two libraries tell of one call, of the same tokens, one within the time of the other.
    """
    siblings: dict[tuple[object, ...], list[Span]] = {}
    for call in calls:
        if call.parent_id is not None and call.output_tokens:
            tokens = call.input_tokens, call.output_tokens
            siblings.setdefault((call.trace_id, call.parent_id, call.kind, *tokens), []).append(call)
    return {
        (outer.trace_id, outer.span_id)
        for some in siblings.values()
        for outer in some[:_BESIDE]
        for inner in some[:_BESIDE]
        if outer.scope != inner.scope
        and outer.started_ns <= inner.started_ns
        and inner.started_ns + inner.duration_us * 1000 <= outer.started_ns + outer.duration_us * 1000
        and (outer.duration_us, outer.span_id) > (inner.duration_us, inner.span_id)
    }


_BESIDE: Final = 50
_ABOVE: Final = 8


def _asked_here(found: Heard, here: str) -> bool:
    """Whether a call went to the very house that is told of it."""
    told = found.text("host")
    if not here or not told:
        return False
    if "://" in told:
        told = told.split("://", 1)[1].split("/", 1)[0]
    port = found.text("port")
    return _place(f"{told}:{port}" if port and ":" not in told else told) == _place(here)


def _place(host: str) -> tuple[str, str]:
    name, _, port = host.rpartition(":") if ":" in host and not host.endswith("]") else (host, "", "")
    name = name.strip("[]").lower()
    return "localhost" if name in _LOCAL else name, port
