"""A trace drawn in the terminal: a line a step, where in time it lay, what it took. Knows no server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich.text import Text

from loopwright.cli.quantities import seconds_text
from loopwright.cli.screen import clip, console

_DEEP: Final = 12
"""Levels that are indented; what lies deeper stands there with its number."""
_STYLES: Final = {
    "llm": "cyan", "embedding": "cyan", "rerank": "cyan", "tool": "yellow", "retrieval": "green", "agent": "magenta",
    "guardrail": "blue", "evaluator": "blue", "memory": "green",
}  # fmt: skip
_WIDE: Final = 110
"""Characters where nobody watches."""


def draw(trace: Mapping[str, Any], nodes: Sequence[Mapping[str, Any]]) -> None:
    """Print `nodes` of a trace, each as a bar over the time of the whole."""
    out = console()
    width = out.width if out.is_terminal else _WIDE
    names = min(max(28, width // 3), 52)
    bars = max(width - names - 36, 10)
    whole = max(int(trace["duration_us"]), 1)
    for node in nodes:
        out.print(_line(node, names, bars, whole), no_wrap=True, overflow="ellipsis")


def _line(node: Mapping[str, Any], names: int, bars: int, whole: int) -> Text:
    depth = int(node["depth"])
    indent = "  " * min(depth, _DEEP) + (f"{depth} " if depth > _DEEP else "")
    kind = str(node["kind"])
    name = indent + clip(node["name"], max(names - len(indent), 8))
    start = min(max(int(node["at_us"]) * bars // whole, 0), bars - 1)
    long = min(max(int(node["duration_us"]) * bars // whole, 1), bars - start)
    style = "red" if node.get("failed") else _STYLES.get(kind, "dim")
    bar = " " * start + ("━" if node.get("critical") else "─") * long
    cost = f"${float(node['cost_usd']):.3g}" if node.get("cost_usd") else "unpriced" if node.get("unpriced") else ""
    took = seconds_text(int(node["duration_us"]) / 1e6)
    mark = "✗" if node.get("failed") else "?" if node.get("missing") or node.get("strange") else " "
    return Text.assemble(
        (f"{name:<{names}} ", "bold" if depth == 0 else ""),
        (f"{kind[:9]:<9} ", "dim"),
        (f"{bar:<{bars}} ", style),
        f"{took:>9} ",
        (f"{cost:>10} ", "dim"),
        (mark, "red"),
    )
