"""What `doctor` examines of mirrors: whether their plug-ins can be made, and how those of a running server are."""

from __future__ import annotations

from collections.abc import Iterator

from loopwright.cli.finding import Finding, fail, ok, warn
from loopwright.cli.reach import reach
from loopwright.core.errors import LoopwrightError
from loopwright.exports.exporter import made
from loopwright.kit.settings import Settings


def examine_exports(settings: Settings, url: str | None, api_key: str | None, *, running: bool) -> Iterator[Finding]:
    """One for each; none without mirrors."""
    states = {}
    if running and settings.exports:
        try:
            with reach(url, api_key, timeout=10.0, settings=settings) as client:
                states = {each["name"]: each for each in client.exports()}
        except LoopwrightError as error:
            yield warn("exports", error.message.splitlines()[0], "Give an administrator's key")
    for name, export in settings.exports.items():
        try:
            made(export)
        except LoopwrightError as error:
            yield fail("exports", f"{name}: {error.message}", "Correct exports in the configuration")
            continue
        state = states.get(name)
        if state is None:
            yield ok("exports", f"{name} ({export.kind})")
        elif state["state"] == "failing":
            yield warn(
                "exports", f"{name}: {state['problem']}; {state['waiting']:,} wait", "It is tried again by itself"
            )
        else:
            yield ok("exports", f"{name} ({export.kind}): {state['sent']:,} sent, {state['waiting']:,} wait")
