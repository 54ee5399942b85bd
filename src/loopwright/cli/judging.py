"""Asks a judge about things that people labelled, over `/v1`, several at a time, and keeps what it said in a file."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, TextIO

import msgspec
import uvloop
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from loopwright.cli.screen import console
from loopwright.core.errors import (
    BadRequest,
    InvalidOutput,
    LoopwrightError,
    NotFound,
    Refused,
    Spent,
    Unauthenticated,
    Unavailable,
    UpstreamError,
)
from loopwright.core.money import NANO, usd
from loopwright.evals.judge import Said, cost_of, rule, rule_pair, text_in
from loopwright.evals.judge_definition import Definition
from loopwright.evals.labelled import Labelled
from loopwright.evals.observation import Observation
from loopwright.kit.http import HttpClient
from loopwright.kit.http_face import Reply
from loopwright.kit.settings import Timeouts

_ATTEMPTS: Final = 4
_LONGEST_WAIT: Final = 60.0
_REFUSALS: Final[Mapping[int, type[LoopwrightError]]] = {401: Unauthenticated, 403: Refused, 404: NotFound}
_TIMEOUT: Final = 600.0


class HttpAsk:
    """Asks `/v1/chat/completions` of a running Loopwright; waits out refusals, tries failures again."""

    def __init__(self, client: HttpClient, judge: str, *, fresh: bool = False) -> None:
        """`fresh` wants no answer out of a cache."""
        self._client = client
        self._tags = {"judge": judge[:100]}
        self._headers = {"content-type": "application/json", **({"cache-control": "no-store"} if fresh else {})}

    async def __call__(self, body: Mapping[str, Any]) -> Said:
        """What is answered.

        Raises:
            InvalidOutput: an answer that does not fit, or a text that is too long for the model: no verdict.
            LoopwrightError: refused for good, or failed four times.
        """
        raw = msgspec.json.encode({**body, "loopwright": {"tags": self._tags}})
        attempt = 0
        while True:
            try:
                reply = await self._client.request("POST", "/chat/completions", raw, self._headers)
            except (Unavailable, UpstreamError) as error:
                attempt += 1
                if attempt >= _ATTEMPTS:
                    raise
                await asyncio.sleep(_pause(attempt, error.retry_after))
                continue
            if reply.status == 200:
                return _said(reply)
            refused = _error(reply)
            if isinstance(refused, BadRequest | InvalidOutput | Spent) or type(refused) in _REFUSALS.values():
                raise refused
            if reply.status != 429:
                attempt += 1
                if attempt >= _ATTEMPTS:
                    raise refused
            await asyncio.sleep(_pause(max(attempt, 1), refused.retry_after))


def _pause(attempt: int, told: float | None) -> float:
    return min(max(0.25 * 2.0**attempt, told or 0.0), _LONGEST_WAIT)


def _said(reply: Reply) -> Said:
    headers, body = reply.headers, msgspec.json.decode(reply.body)
    usage = body.get("usage") if isinstance(body, dict) else None
    usage = usage if isinstance(usage, dict) else {}
    cost = headers.get("x-loopwright-cost-usd")
    return Said(
        text=text_in(reply.body),
        call_id=headers.get("x-loopwright-call-id", ""),
        model=headers.get("x-loopwright-model", ""),
        input_tokens=int(usage.get("prompt_tokens") or 0),
        output_tokens=int(usage.get("completion_tokens") or 0),
        cost_nano=None if cost is None else int(Decimal(cost) * NANO),
    )


def _error(reply: Reply) -> LoopwrightError:
    try:
        told = json.loads(reply.body)["error"]
        code, message = str(told.get("code")), str(told.get("message"))
    except (ValueError, KeyError, TypeError, AttributeError):
        code, message = "", reply.body[:200].decode("utf-8", "replace")
    wait = reply.headers.get("retry-after", "")
    if code in {"invalid_output", "context_length_exceeded"}:
        return InvalidOutput(message)
    if code == "insufficient_quota":
        return Spent(message)
    if reply.status in _REFUSALS:
        return _REFUSALS[reply.status](message)
    if 400 <= reply.status < 500 and reply.status != 429:
        return BadRequest(message)
    return UpstreamError(message, upstream_status=reply.status, retry_after=float(wait) if wait.isdigit() else None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be asked."""

    judge: str
    definition: Definition
    things: Sequence[Labelled]
    concurrency: int
    repeats: int = 0
    """How often each of the first `repeated` things is asked again."""
    repeated: int = 0
    kept: Path | None = None
    """File of what was said: read first, and added to."""


def judged(plan: Plan, *, url: str, api_key: str | None, quiet: bool) -> list[Observation]:
    """Ask about everything that the file does not know yet; in the order of the things.

    Raises:
        LoopwrightError: the model cannot be asked.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_judged(plan, url, api_key, quiet=quiet))


async def _judged(plan: Plan, url: str, api_key: str | None, *, quiet: bool) -> list[Observation]:
    found = {} if plan.kept is None else _read(plan.kept, plan.definition.sha)
    left = [(at, thing) for at, thing in enumerate(plan.things) if thing.id not in found]
    screen = console(stderr=True)
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[cost]}"),
        TimeElapsedColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=screen, transient=True, disable=quiet or not screen.is_terminal) as progress:
        bar = progress.add_task(
            plan.definition.model, total=len(plan.things), completed=len(plan.things) - len(left), cost=""
        )
        spent = 0

        def told(each: Observation) -> None:
            nonlocal spent
            spent += each.cost_nano or 0
            progress.update(bar, advance=1, cost=f"${usd(spent)}")

        async with _client(url, api_key, plan.concurrency) as client:
            await _ask_all(plan, client, left, found, told)
    # What people said is the file of labels' to tell: an older file of verdicts may hold other labels
    return [replace(found[thing.id], human=thing.human, authors=thing.authors) for thing in plan.things]


@asynccontextmanager
async def _client(url: str, api_key: str | None, concurrency: int) -> AsyncIterator[HttpClient]:
    client = HttpClient(
        base_url=f"{url}/v1",
        headers={"authorization": f"Bearer {api_key}"} if api_key else {},
        timeouts=Timeouts(connect=30.0, first_token=_TIMEOUT, between_tokens=_TIMEOUT, total=_TIMEOUT),
        limit=concurrency,
    )
    try:
        yield client
    finally:
        await client.close()


async def _ask_all(
    plan: Plan,
    client: HttpClient,
    left: Sequence[tuple[int, Labelled]],
    found: dict[str, Observation],
    told: Callable[[Observation], None],
) -> None:
    waiting = iter(left)
    ask, again = HttpAsk(client, plan.judge), HttpAsk(client, plan.judge, fresh=True)
    kept = None if plan.kept is None else plan.kept.open("a", encoding="utf-8")

    async def work() -> None:
        for at, thing in waiting:  # one iterator: each thing goes to one of those who work
            repeats = plan.repeats if at < plan.repeated else 0
            found[thing.id] = await _observe(plan.definition, thing, ask, again, repeats)
            _write(kept, plan.definition.sha, found[thing.id])
            told(found[thing.id])

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(plan.concurrency, len(left))):
                group.create_task(work())
    except* LoopwrightError as errors:
        raise _first(errors) from None
    finally:
        if kept is not None:
            kept.close()


async def _observe(definition: Definition, thing: Labelled, ask: HttpAsk, again: HttpAsk, repeats: int) -> Observation:
    try:
        return await _asked(definition, thing, ask, again, repeats)
    except UpstreamError as error:
        none = (None, None) if thing.pair else None
        why = f"nobody answered ({error.code})"  # not its message, which may quote what was asked
        return Observation(
            id=thing.id, human=thing.human, verdict=None, orders=none, missing=why, lengths=thing.lengths
        )


async def _asked(definition: Definition, thing: Labelled, ask: HttpAsk, again: HttpAsk, repeats: int) -> Observation:
    orders = None
    if thing.pair:
        pair = await rule_pair(definition, thing.material, ask)
        rulings, orders = list(pair.rulings), pair.orders
        verdict, missing = pair.label, pair.missing
    else:
        rulings = [await rule(definition, thing.material, ask)]
        verdict, missing = rulings[0].verdict.label, rulings[0].verdict.missing
    repeated = [await rule(definition, thing.material, again) for _ in range(repeats)]
    shown = {"A": "a", "B": "b"} if thing.pair else {}
    labels = [each.verdict.label for each in repeated]
    said = [each.said for each in (*rulings, *repeated)]
    return Observation(
        id=thing.id,
        human=thing.human,
        verdict=verdict,
        orders=orders,
        repeats=tuple(None if label is None else shown.get(label, label) for label in labels),
        missing=missing,
        lengths=thing.lengths,
        authors=thing.authors,
        model=next((each.model for each in said if each.model), ""),
        call_ids=tuple(each.call_id for each in said if each.call_id),
        calls=len(said),
        input_tokens=sum(each.input_tokens for each in said),
        output_tokens=sum(each.output_tokens for each in said),
        cost_nano=cost_of(said),
    )


def _first(errors: BaseExceptionGroup[LoopwrightError]) -> LoopwrightError:
    inner = errors.exceptions[0]
    return _first(inner) if isinstance(inner, BaseExceptionGroup) else inner


def _read(path: Path, sha: str) -> dict[str, Observation]:
    """What the file knows of this version of the judge. A last line without its end is of a run that died in it."""
    if not path.exists():
        return {}
    found: dict[str, Observation] = {}
    for line in path.read_bytes().splitlines():
        try:
            row = msgspec.json.decode(line)
            if row.pop("sha") == sha:
                found[row["id"]] = msgspec.convert(row, Observation)
        except (msgspec.MsgspecError, AttributeError, KeyError, TypeError):
            continue
    return found


def _write(kept: TextIO | None, sha: str, each: Observation) -> None:
    if kept is not None:
        kept.write(json.dumps({"sha": sha, **asdict(each)}) + "\n")
        kept.flush()
