"""Has a call on record looked at by an evaluator, so that whatever it does becomes a finding. Knows no table."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import msgspec

from loopwright.core.call import CallDetail
from loopwright.core.errors import BadRequest, Busy, LoopwrightError, Spent
from loopwright.core.score import Score
from loopwright.datasets.example import Example
from loopwright.datasets.made import of_call
from loopwright.evals.evaluator import Evaluator, Output
from loopwright.feedback.given import NOTE, score_of
from loopwright.kit import wire_read
from loopwright.monitoring.books import Finding
from loopwright.monitoring.watched import Watch

_MOST_PASSAGES: Final = 50


def example_of(detail: CallDetail) -> Example | None:
    """What was asked; None where no text of it is kept."""
    return of_call(detail, answers=False)


def output_of(detail: CallDetail, *, formed: bool) -> Output | None:
    """What was answered, with the passages that were shown for it; None where no text of it is kept."""
    body, call = detail.response, detail.call
    choice = None if body is None else wire_read.choice_of(body)
    if choice is None:
        return None
    message = choice.get("message")
    message = message if isinstance(message, dict) else {"content": choice.get("text")}
    refused = message.get("refusal")
    said = wire_read.text(message.get("content")) or (refused if isinstance(refused, str) else "")
    return Output(
        text=said,
        value=_json(said) if formed else None,
        tool_calls=wire_read.dicts(message.get("tool_calls")),
        finish="content_filter" if isinstance(refused, str) and refused else call.finish,
        call_id=call.id,
        input_tokens=call.input_tokens,
        output_tokens=call.output_tokens,
        cost_nano=call.cost_nano,
        latency_us=call.latency_us,
        model=call.target,
        passages=_passages(detail.request),
    )


async def found(
    watch: Watch, evaluator: Evaluator, example: Example, output: Output, *, floor: float, seconds: float
) -> Finding:
    """What an evaluator finds.

    Raises:
        Spent: a budget of the project or of a key is used up.
        Busy, LoopwrightError with a status of 500 or more: who was asked cannot answer now; it may later.
    """
    began = time.thread_time_ns()
    try:
        async with asyncio.timeout(seconds):
            score = await evaluator(example, output)
        what, said = "scored", ""
    except (Spent, Busy):
        raise
    except TimeoutError:
        what, said = "raised", f"it took longer than {seconds:g} s (evaluations.evaluator_timeout)"
    except LoopwrightError as error:
        if error.status >= 500:
            raise
        what, said = "raised", error.message
    except (Exception, SystemExit) as error:  # noqa: BLE001 - an edge: evaluators raise what they like, and the round goes on
        what, said = "raised", f"{type(error).__name__}: {error}"
    cpu_us = (time.thread_time_ns() - began) // 1_000
    common: dict[str, Any] = {"name": watch.name, "judged": watch.judges, "cpu_us": cpu_us}
    if what == "raised":
        return Finding(what=what, said=said, **common)
    if score.value is None and score.label is None and score.passed is None:
        return Finding(what="missing", said=score.missing or "no finding", nano=score.cost_nano or 0, **common)
    try:
        kept = _kept(watch.name, score)
    except BadRequest as error:
        return Finding(what="raised", said=error.message, nano=score.cost_nano or 0, **common)
    return Finding(what="scored", score=kept, weight=1.0 / watch.chance(floor), nano=score.cost_nano or 0, **common)


def _kept(name: str, score: Score) -> Score:
    """A score as feedback keeps it: within bounds, without what it says to machines."""
    label = None if score.label is None else "".join(each if each.isprintable() else " " for each in score.label)[:200]
    made = score_of(
        name,
        value=score.value,
        label=label or None,
        passed=score.passed,
        explanation=score.explanation.encode("utf-8", "replace").decode()[:NOTE].replace("\x00", " "),
    )
    return replace(made, cost_nano=score.cost_nano)


def _passages(request: Mapping[str, Any] | None) -> list[str]:
    """The passages that stood in the prompt, as the record of the call tells of them."""
    aside = (request or {}).get("loopwright")
    told = aside.get("retrieval") if isinstance(aside, dict) else None
    listed = wire_read.dicts(told.get("candidates")) if isinstance(told, dict) else []
    shown = [each for each in listed if each.get("number") is not None]
    return [text for each in shown[:_MOST_PASSAGES] if isinstance(text := each.get("text"), str)]


def _json(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
