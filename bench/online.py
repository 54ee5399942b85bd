"""Measures online evaluation: what noting arrivals adds to the drain, what a scored call takes, and rolling scores up.

    python bench/online.py                 # 20,000 calls, about three minutes
    python bench/online.py --calls 4000

CPU of this process (the monitor's work) and of PostgreSQL apart, per call. Texts are real questions of Banking77 where
`LOOPWRIGHT_TEST_DATA` has them, and answers of about 60 words. Judges and embeddings are not measured here: their cost
is the model's.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import json
import os
import random
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from loopwright.access.spending import charge
from loopwright.calls.drain import Drain
from loopwright.calls.query import Calls
from loopwright.calls.record import Record
from loopwright.calls.spool import Spool
from loopwright.evals.evaluator import Evaluator
from loopwright.evals.evaluators import make
from loopwright.feedback.store import Feedback
from loopwright.kit.db import Database
from loopwright.kit.ids import Ids
from loopwright.kit.migrations import migrate
from loopwright.kit.postgres import EmbeddedPostgres
from loopwright.kit.settings import CallsSettings
from loopwright.kit.settings_json import settings_of
from loopwright.kit.settings_tasks import TaskSettings
from loopwright.monitoring.arriving import arriving
from loopwright.monitoring.books import Books
from loopwright.monitoring.drawing import Drawing
from loopwright.monitoring.metered import Meter
from loopwright.monitoring.online import Computed, Online
from loopwright.monitoring.purse import Purse
from loopwright.monitoring.score_rollups import RollUps
from loopwright.monitoring.scores import ScoreFilter, Scores
from loopwright.monitoring.watched import Plan, Watch, plan_of
from loopwright.monitoring.watchlist import Watchlist
from loopwright.rooms import ROOMS
from loopwright.tasks.task import task_of
from processes import postgres_cpu

DATA: Final = Path(os.environ.get("LOOPWRIGHT_TEST_DATA", "../shared/data")).resolve() / "banking77" / "train.csv"
ALL: Final = ("refusal", "language", "sentiment", "toxicity", "pii", "json_schema")
WORDS: Final = [
    "Thank",
    "you",
    "for",
    "asking",
    ".",
    "We",
    "looked",
    "at",
    "your",
    "account",
    "and",
    "the",
    "payment",
    "of",
    "last",
    "Friday",
    "has",
    "arrived",
    ".",
    "The",
    "fee",
    "was",
    "taken",
    "back",
    "within",
    "two",
    "days",
    ",",
    "and",
    "you",
    "will",
    "find",
    "it",
    "in",
    "the",
    "list",
    "of",
    "your",
    "transactions",
    ".",
    "Should",
    "anything",
    "still",
    "be",
    "missing",
    ",",
    "please",
    "write",
    "to",
    "us",
    "again",
    "and",
    "tell",
    "us",
    "the",
    "date",
    "and",
    "the",
    "amount",
    ".",
    "We",
    "are",
    "glad",
    "to",
    "help",
    "you",
    "with",
    "your",
    "card",
    "at",
    "any",
    "time",
    ".",
]


class Making:
    """Makes the evaluators of one plan once."""

    def __init__(self) -> None:
        self._plan: Plan | None = None
        self._made: Mapping[str, Evaluator] = {}

    async def computed(self, plan: Plan, project_id: int) -> Mapping[str, Evaluator]:
        """By name."""
        del project_id
        if self._plan is not plan:
            self._plan, self._made = plan, {each.name: make(each.spec) for each in plan.computed}
        return self._made

    async def asked(self, plan: Plan, watch: Watch, project_id: int, meter: Meter) -> Evaluator:
        """Nobody is asked."""
        raise NotImplementedError

    def costs(self, evaluator: Evaluator) -> bool:
        """Nothing does."""
        del evaluator
        return False


@dataclass(frozen=True, slots=True)
class Took:
    """CPU and wall of a step, in milliseconds a call."""

    own: float
    postgres: float
    wall: float


async def timed(work: Callable[[], Awaitable[Any]], calls: int) -> Took:
    own, pg, began = time.process_time(), postgres_cpu(), time.perf_counter()
    await work()
    wall = time.perf_counter() - began
    return Took(*((each / calls * 1000) for each in (time.process_time() - own, postgres_cpu() - pg, wall)))


def questions() -> list[str]:
    if not DATA.exists():
        return [f"When does my card number {number} arrive?" for number in range(500)]
    with DATA.open(newline="") as file:
        return [row["text"] for row in csv.DictReader(file)]


def records(asked: Sequence[str], count: int, seed: int) -> list[Record]:
    ids, chance = Ids(), random.Random(seed)
    made = []
    for at in range(count):
        started = time.time_ns()
        said = " ".join(chance.sample(WORDS, k=60))
        message = {"role": "assistant", "content": said}
        answer = {"object": "chat.completion", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
        made.append(
            Record(
                id=ids.new(started), started_ns=started, project_id=1, key_id=1, operation="chat", model="task/t",
                target="m", provider="p", outcome="ok", status=200, error_code=None, error=None, stream=False,
                ttft_us=None, latency_us=400_000, input_tokens=20, output_tokens=80, cached_tokens=0,
                reasoning_tokens=0, usage_estimated=False, cost_nano=1_000, price_source="p", client="bench",
                session=None, trace_id="0af7651916cd43dd8448eb211c80319c", span_id="b7ad6b7169203331", parent_id=None,
                task="t", variant="ab"[at % 10 == 0], prompt_version=None, tags={},
                request=json.dumps({"model": "task/t", "messages": [{"role": "user", "content": asked[at % len(asked)]}]}).encode(),
                answer=json.dumps(answer).encode(),
            )
        )  # fmt: skip
    return made


def watched(*kinds: str) -> TaskSettings:
    variant = {"model": "m", "messages": [{"role": "user", "content": "{{ input }}"}]}
    return settings_of(
        {"variants": {"a": variant, "b": variant}, "monitor": {"evaluators": list(kinds), "share": 1}}, TaskSettings
    )


class House:
    """The rooms that take part."""

    def __init__(self, db: Database, folder: Path) -> None:
        self.db, self.folder, self.settings = db, folder, CallsSettings()
        self.calls, self.making, self.runs = Calls(db, self.settings), Making(), 0

    async def drained(self, made: Sequence[Record], *, noted: bool) -> Took:
        """Spool calls, untimed, and drain them."""
        self.runs += 1
        folder = self.folder / f"spool-{self.runs}"
        spool = Spool(folder, 10**10)
        for record in made:
            spool.write(record)
        drain = Drain(self.db, folder, self.settings, charge=arriving(charge) if noted else charge)

        async def all_of_it() -> None:
            while await drain.once():
                pass

        took = await timed(all_of_it, len(made))
        drain.close()
        spool.close()
        return took

    async def scored(self, made: Sequence[Record], *kinds: str) -> tuple[Took, Took]:
        """Drawing, and finding out."""
        task = watched(*kinds)
        plan = plan_of(task_of("t", task), may=lambda _: False)
        await Watchlist(self.db, {"t": task})()
        await self.drained(made, noted=True)
        online = Online(
            db=self.db,
            calls=self.calls,
            books=Books(self.db, Feedback(self.db)),
            plan_of=lambda *_: plan,
            makes=self.making,
            seconds=60.0,
            purse=Purse(self.db),
        )
        drawing = await timed(Drawing(self.db, online.plan_of), len(made))
        return drawing, await timed(Computed(online), len(made))


async def measure(calls: int) -> None:
    """Run all of it and print the figures."""
    asked, part = questions(), max(calls // 5, 500)
    with tempfile.TemporaryDirectory(prefix="lw-") as home:
        server = await EmbeddedPostgres.start(Path(home) / "pg")
        db = await Database.open(server.url, size=8)
        try:
            await migrate(db, ROOMS)
            await show(House(db, Path(home)), asked, calls, part)
        finally:
            await db.close()
            await server.stop()


async def show(house: House, asked: Sequence[str], calls: int, part: int) -> None:
    table = Table("step", "monitor ms", "PostgreSQL ms", "calls a second", title=f"{calls:,} calls, a call")

    def row(name: str, took: Took) -> None:
        table.add_row(name, f"{took.own:.3f}", f"{took.postgres:.3f}", f"{1000 / took.wall:,.0f}")

    await house.scored(records(asked, 200, 0), *ALL)  # words, weights, plans: loaded once a process
    await RollUps(house.db)()
    plain = await house.drained(records(asked, calls, 1), noted=False)
    row("drain without notes", plain)
    drawing, whole = await house.scored(records(asked, calls, 2), *ALL)
    noted = await house.drained(records(asked, calls, 3), noted=True)
    row("drain with notes of a watched task", noted)
    await house.db.run("delete from monitor_arrivals")
    row("drawing", drawing)
    row(f"all {len(ALL)} scores of each call", whole)
    row("rolling them up", await timed(RollUps(house.db), calls))
    for kind in ALL:
        _, took = await house.scored(records(asked, part, hash(kind) % 1000), kind)
        row(f"only {kind}", took)
    began = time.perf_counter()
    for _ in range(20):
        await Scores(house.db).series(ScoreFilter(project_id=1), points=60)
    Console(width=110).print(table)
    Console().print(f"a chart of all scores over a day: {(time.perf_counter() - began) / 20 * 1000:.1f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=20_000)
    asyncio.run(measure(parser.parse_args().calls))


if __name__ == "__main__":
    main()
