"""How a call reads on a terminal: its row in a list, its facts, its conversation."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from rich.text import Text

from loopwright.cli.quantities import local_text, seconds_text
from loopwright.cli.screen import Column, clean, console, show_table

_SHOWN: Final = {"messages", "prompt", "input", "model"}


def columns() -> tuple[Column, ...]:
    """The columns of a list of calls."""
    return (
        Column(title="time"),
        Column(title="model", least=10),
        Column(title="outcome"),
        Column(title="status", right=True, weight=5),
        Column(title="tokens in", right=True, weight=4),
        Column(title="out", right=True, weight=3),
        Column(title="cost USD", right=True, weight=2),
        Column(title="TTFT", right=True, weight=3),
        Column(title="latency", right=True),
        Column(title="scores", weight=4, least=8),
        Column(title="error", weight=6, least=16),
        Column(title="id", weight=7),
    )


def row(call: Mapping[str, Any]) -> list[object]:
    """One call of a list."""
    return [
        local_text(call["started_at"]),
        call["model"],
        call["outcome"],
        call["status"],
        f"{call['input_tokens']:,}",
        f"{call['output_tokens']:,}",
        _cost(call),
        seconds_text(_seconds(call["ttft_us"])),
        seconds_text(_seconds(call["latency_us"])),
        _scores(call.get("scores") or ()),
        call["error_code"] or "",
        call["id"],
    ]


def scored(said: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, object]]:
    """What was said of a call, for people."""
    for each in said:
        verdict = {True: "passed", False: "failed"}.get(each["passed"], "")
        number = "" if each["value"] is None else f"{each['value']:.4g}"
        words = " ".join(filter(None, (verdict, number, each["label"] or "")))
        why = f": {each['explanation']}" if each["explanation"] else ""
        yield each["name"], f"{words}{why} ({each['source']} {each['author']})"


def _scores(said: Sequence[Mapping[str, Any]]) -> str:
    """Those that failed, by name; else how many there are."""
    failed = [str(each["name"]) for each in said if each["passed"] is False]
    return f"failed {', '.join(failed)}" if failed else str(len(said)) if said else ""


def facts(call: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    """What a call's row tells, for people."""
    yield "call", call["id"]
    yield "time", local_text(call["started_at"])
    yield "model", call["model"] if call["target"] in {"", call["model"]} else f"{call['model']} → {call['target']}"
    yield "provider", call["provider"]
    yield "outcome", f"{call['outcome']} ({call['status']})" + (f", {call['finish']}" if call["finish"] else "")
    if call["error_code"]:
        yield "error", f"{call['error_code']}: {call['error']}"
    yield "tokens", _tokens(call)
    yield "cost", _cost(call) + (f" USD ({call['price_source']})" if call["cost_usd"] is not None else "")
    yield "TTFT", seconds_text(_seconds(call["ttft_us"]))
    yield "TPOT", seconds_text(_seconds(call["tpot_us"]))
    yield "latency", seconds_text(_seconds(call["latency_us"])) + (", streamed" if call["stream"] else "")
    for name in ("client", "session", "task", "variant", "prompt_version", "trace_id"):
        yield name.replace("_", " "), call[name]
    yield "tags", ", ".join(f"{name}:{value}" for name, value in (call["tags"] or {}).items())


_OUTCOMES: Final[Mapping[str, str]] = {
    "shown": "this answer was shaped by these corrections",
    "answered": "this answer is a correction: the same was asked before",
    "held-out": "these corrections were held back by chance, to tell what memory is good for",
    "none": "had nothing for it",
    "late": "was not asked in time",
}


def show_sent(detail: Mapping[str, Any]) -> None:
    """Print where the bytes of a call went, when a trail of it was kept."""
    sent = detail.get("sent")
    if sent is None:
        return
    _part("where it went", "" if sent else "nowhere", "magenta")
    columns = (
        Column(title="provider"),
        Column(title="model", weight=2),
        Column(title="region"),
        Column(title="bytes", right=True),
        Column(title="answered", weight=1),
        Column(title="replaced first", weight=3),
        Column(title="SHA-256", weight=4),
    )
    if sent:
        show_table(columns, [_departure(each) for each in sent], empty="Nowhere.")


def show_memory(detail: Mapping[str, Any]) -> None:
    """Print which corrections shaped the answer of a call of a task."""
    memory = ((detail.get("request") or {}).get("loopwright") or {}).get("memory")
    if not isinstance(memory, Mapping):
        return
    outcome = str(memory.get("outcome"))
    _part("memory", _OUTCOMES.get(outcome, outcome), "magenta")
    columns = (
        Column(title="correction"),
        Column(title="alike", right=True),
        Column(title="by"),
        Column(title="of call"),
    )
    rows = [[each.get(name) for name in ("id", "similarity", "author", "call_id")] for each in memory["corrections"]]
    if rows:
        show_table(columns, rows, empty="")


def _departure(sent: Mapping[str, Any]) -> list[object]:
    region = sent["region"] or ("here" if sent["own"] else "not known")
    size = f"{sent['bytes']:,}" + (f" in {sent['bodies']}" if sent["bodies"] != 1 else "")
    return [
        sent["provider"],
        sent["model"],
        f"{region}, ours" if sent["own"] else region,
        size if sent.get("exact", True) else f"at most {size}",
        "yes" if sent["answered"] else "no",
        ", ".join(f"{count} {kind}" for kind, count in (sent.get("redacted") or {}).items()),
        sent["sha256"],
    ]


def show_texts(detail: Mapping[str, Any]) -> None:
    """Print the conversation: parameters, what was said, what was answered."""
    request, response = detail.get("request"), detail.get("response")
    if detail.get("sealed"):
        _part("texts", str(detail["sealed"]), "yellow")
        return
    if request is None and response is None:
        _part("texts", "not kept (calls.payloads is off, a policy or the client said so, or they were deleted)", "dim")
        return
    request = request or {}
    parameters = {name: value for name, value in request.items() if name not in _SHOWN}
    if parameters:
        _part("parameters", json.dumps(parameters, ensure_ascii=False), "dim")
    for message in request.get("messages") or ():
        _part(str(message.get("role", "?")), _content(message), "cyan")
    for name in ("prompt", "input"):
        if name in request:
            _part(name, _plain(request[name]), "cyan")
    for choice in (response or {}).get("choices") or ():
        message = choice.get("message")
        text = _content(message) if message else str(choice.get("text", ""))
        _part("answer", text, "green")
    for at, item in enumerate((response or {}).get("data") or ()):
        vector = item.get("embedding")
        size = f"{len(vector)} numbers" if isinstance(vector, list) else "encoded"
        _part(f"embedding {at}", size, "green")


def _part(name: str, text: str, style: str) -> None:
    out = console()
    out.print()
    out.print(Text(name, style=f"bold {style}".strip()))
    out.print(Text(clean(text)))


def _content(message: Mapping[str, Any]) -> str:
    parts = []
    if message.get("reasoning_content"):
        parts.append(f"(thinking) {message['reasoning_content']}")
    if message.get("content") is not None:
        parts.append(_plain(message["content"]))
    for call in message.get("tool_calls") or ():
        function = call.get("function") or {}
        parts.append(f"→ {function.get('name')}({function.get('arguments')})")
    if message.get("refusal"):
        parts.append(f"(refused) {message['refusal']}")
    return "\n".join(parts)


def _plain(content: Any) -> str:
    """Text of a message's content: a string, or a list of parts of which only text can be shown."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "\n".join(
            str(part.get("text") or f"[{part.get('type', '?')}]") if isinstance(part, dict) else str(part)
            for part in content
        )
    return json.dumps(content, ensure_ascii=False)


def _tokens(call: Mapping[str, Any]) -> str:
    told = f"{call['input_tokens']:,} in"
    if call["cached_tokens"]:
        told += f" ({call['cached_tokens']:,} cached)"
    told += f", {call['output_tokens']:,} out"
    if call["reasoning_tokens"]:
        told += f" ({call['reasoning_tokens']:,} reasoning)"
    return told + (", estimated" if call["usage_estimated"] else "")


def _cost(call: Mapping[str, Any]) -> str:
    return "unpriced" if call["cost_usd"] is None else str(call["cost_usd"])


def _seconds(microseconds: float | None) -> float | None:
    return None if microseconds is None else microseconds / 1e6
