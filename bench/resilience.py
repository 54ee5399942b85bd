"""What clients see when upstreams fail: answers, duplicates, deadlines, and how many attempts it takes.

Two targets behind one fallback route, over real sockets, both from `loopwright.testing`. Eight kinds of failure, and three
models of when they strike, because the number of attempts that is needed depends on it:

  sick     one target fails 30 % of its attempts, the other none: a bad zone, a bad deployment
  bursts   each target is down 30 % of the time, in bursts of its own: what outages look like
  coin     each attempt fails by itself with 30 %, at both targets: nothing learned from one tells of the next

With `coin`, whoever answers 99.9 % needs at least 0.999 / 0.7 = 1.43 attempts a request, whatever the design (Wald's
equation: attempts * 0.7 = answers). 1.2 attempts answer at most 1.2 * 0.7 = 84 %. So `coin` is run twice: with the
default budget, which holds the amplification, and with `budget: 1` and eight attempts, which holds the answers.

Attempts are what the upstreams counted, also those that the HTTP client repeats when a kept connection turns out to be
closed (a connection that is dropped without a byte looks like that). Behind the name of `bursts` stands how long the
first target, the second and both were down.

A 429 comes without `Retry-After`: a target that names a time is left alone for it, which no coin would justify.
Faults strike before the first content of a stream, or anywhere in a whole answer: after the first content nothing can be
tried again without sending bytes twice, so a failure there is an error event by design.

    python bench/resilience.py                # some minutes; --requests for more or fewer
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from loopwright.core.chat import Chat, Delta, Request
from loopwright.core.errors import LoopwrightError
from loopwright.core.who import HOUSE
from loopwright.gateway.route import Route, route
from loopwright.gateway.routed import Routed, Target
from loopwright.kit import wire
from loopwright.kit.ids import Ids
from loopwright.kit.settings import ModelSettings, ProviderSettings, TargetSettings, Timeouts
from loopwright.kit.settings_routes import BreakerSettings, RetrySettings
from loopwright.providers.openai import OpenAICompatible
from loopwright.testing import FaultyUpstream, answer_to

SHARE: Final = 0.3
STREAMED: Final = ("status=500", "status=503", "status=429", "drop", "reset", "html", "error-body", "stall=0")
WHOLE: Final = ("status=500", "status=429", "drop", "reset", "truncate", "malformed-json", "html", "stall")
DEADLINE: Final = 10.0
BURST: Final = 1.0
"""Mean seconds a target is down."""
CLIENTS: Final = 16
Weather = Callable[[], bool]
"""Whether an attempt that begins now fails."""


def coin(seed: int) -> Weather:
    """By itself, each time."""
    dice = random.Random(seed)
    return lambda: dice.random() < SHARE


def bursts(seed: int) -> Weather:
    """Up and down by turns of random length; down for `SHARE` of the time."""
    dice = random.Random(seed)
    state = {"down": False, "until": time.monotonic() + dice.expovariate(1.0) * BURST * (1 - SHARE) / SHARE}

    def now() -> bool:
        while time.monotonic() > state["until"]:
            state["down"] = not state["down"]
            mean = BURST if state["down"] else BURST * (1 - SHARE) / SHARE
            state["until"] += dice.expovariate(1.0) * mean
        return bool(state["down"])

    return now


@dataclass(slots=True)
class Outcome:
    """What became of the requests of one case."""

    right: int = 0
    wrong: int = 0
    duplicated: int = 0
    late: int = 0
    longest: float = 0.0
    errors: Counter[str] = field(default_factory=Counter)
    down: list[tuple[bool, bool]] = field(default_factory=list)
    """Of the two targets, as each request came."""

    def shown_down(self) -> str:
        """Shares of the time."""
        if not self.down:
            return ""
        first, second, both = (
            sum(map(test, self.down)) / len(self.down) for test in (lambda d: d[0], lambda d: d[1], all)
        )
        return f" ({first:.0%}, {second:.0%}, {both:.0%})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One model of failures under one budget."""

    name: str
    watched: bool = False
    """Its weather can be looked at without changing it."""
    weather: tuple[Weather, Weather]
    retries: RetrySettings
    bound: float
    """Attempts a request below which 99.9 % cannot be answered."""


def cases() -> list[Case]:
    """Those of the table."""
    default, coins = RetrySettings(), 0.999 / (1 - SHARE)
    generous = RetrySettings(budget=1.0, attempts=8)
    return [
        Case(name="sick", weather=(coin(1), lambda: False), retries=default, bound=0.999),
        Case(name="bursts", weather=(bursts(2), bursts(3)), watched=True, retries=default, bound=0.999),
        Case(name="coin, default budget", weather=(coin(4), coin(5)), retries=default, bound=coins),
        Case(name="coin, budget 1", weather=(coin(6), coin(7)), retries=generous, bound=coins),
    ]


def failing(provider: OpenAICompatible, weather: Weather, seed: int) -> Chat:
    """A target whose attempts fail as `weather` says: the upstream obeys the model's name."""
    dice = random.Random(seed)
    fine = provider.chat("fine")

    def chat(request: Request, /) -> AsyncGenerator[Delta, None]:
        if not weather():
            return fine(request)
        return provider.chat(f"fault:{dice.choice(STREAMED if request.stream else WHOLE)}")(request)

    return chat


def make(case: Case, urls: list[str]) -> tuple[Route, list[OpenAICompatible]]:
    """The route that is measured, as a configuration of two targets would make it."""
    timeouts = Timeouts(connect=2.0, first_token=0.5, between_tokens=0.5, total=20.0)
    providers = [
        OpenAICompatible(f"p{at}", ProviderSettings(base_url=url, timeouts=timeouts)) for at, url in enumerate(urls)
    ]
    targets = [
        Target(
            chat=failing(provider, weather, seed),
            provider=provider.name,
            model="fine",
            operations=frozenset({"chat"}),
            price=None,
        )
        for seed, (provider, weather) in enumerate(zip(providers, case.weather, strict=True))
    ]
    settings = ModelSettings(
        targets=tuple(TargetSettings(provider=provider.name) for provider in providers),
        retries=case.retries,
        breaker=BreakerSettings(pause=0.5, longest_pause=2.0),
        deadline=DEADLINE,
    )
    return route("m", settings, targets), providers


async def ask(chat: Chat, ids: Ids, number: int, outcome: Outcome) -> None:
    """One request; every other one streams."""
    prompt, stream = f"request {number}", number % 2 == 0
    body = {"model": "m", "stream": stream, "messages": [{"role": "user", "content": prompt}]}
    raw = json.dumps(body).encode()
    request = wire.parse(raw, "chat", call_id=ids.new(), who=HOUSE, started_ns=time.time_ns())
    began = time.monotonic()
    sent = b""
    try:
        async for delta in chat(request):
            sent += delta.raw
        judge(outcome, sent, answer_to(prompt), stream=stream)
    except LoopwrightError as error:
        outcome.errors[error.code] += 1
        outcome.duplicated += sent.count(b'"role"') > 1
    took = time.monotonic() - began
    outcome.longest = max(outcome.longest, took)
    outcome.late += took > DEADLINE + 0.1


def judge(outcome: Outcome, sent: bytes, expected: str, *, stream: bool) -> None:
    """Whether the bytes are the answer, once."""
    if stream:
        lines = [line[6:] for line in sent.decode().split("\n\n") if line.startswith("data: ")]
        events: list[dict[str, Any]] = [json.loads(line) for line in lines if line != "[DONE]"]
        said = "".join(each["choices"][0]["delta"].get("content") or "" for each in events if each["choices"])
        outcome.duplicated += sent.count(b"[DONE]") > 1 or sent.count(b'"role"') > 1 or len(said) > len(expected)
    else:
        said = json.loads(sent)["choices"][0]["message"]["content"]
    if said == expected:
        outcome.right += 1
    else:
        outcome.wrong += 1


async def measure(case: Case, requests: int, rate: float) -> tuple[Outcome, float]:
    """Answers, and attempts a request as the upstreams counted them."""
    async with FaultyUpstream(seed=1) as first, FaultyUpstream(seed=2) as second:
        made, providers = make(case, [first.url, second.url])
        chat, outcome, ids = Routed({"m": made.target}), Outcome(), Ids()
        running: set[asyncio.Task[None]] = set()
        began = time.monotonic()
        for number in range(requests):
            await asyncio.sleep(max(began + number / rate - time.monotonic(), 0.0))
            while len(running) >= CLIENTS * 64:
                await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            if case.watched:
                outcome.down.append((case.weather[0](), case.weather[1]()))
            task = asyncio.create_task(ask(chat, ids, number, outcome))
            running.add(task)
            task.add_done_callback(running.discard)
        await asyncio.gather(*running)
        asked = first.requests + second.requests
        for provider in providers:
            await provider.close()
        return outcome, asked / requests


def main() -> None:
    """Measure every case."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--requests", type=int, default=4000, help="of each case")
    options.add_argument("--rate", type=float, default=150.0, help="requests a second, whether or not others are done")
    given = options.parse_args()
    table = Table(
        "failures", "answered", "duplicates", "past deadline", "longest", "attempts a request", "at least", "errors"
    )
    for case in cases():
        outcome, amplification = asyncio.run(measure(case, given.requests, given.rate))
        table.add_row(
            case.name + outcome.shown_down(),
            f"{outcome.right / given.requests:.3%}",
            f"{outcome.duplicated + outcome.wrong}",
            f"{outcome.late}",
            f"{outcome.longest:.2f} s",
            f"{amplification:.3f}",
            f"{case.bound:.3f}",
            f"{outcome.errors.total()}",
        )
    screen = Console(width=max(Console().width, 110))
    screen.print(table)
    screen.print("at least: attempts a request that answering 99.9 % takes whatever the design (see --help).")


if __name__ == "__main__":
    main()
