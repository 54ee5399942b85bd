"""Calls about topics, an embedder that knows them, and a round that looks at them."""

import hashlib
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np

from loopwright.core.chat import Embedder
from loopwright.core.privacy import Privacy
from loopwright.kit.seal import PLAIN, Seal
from loopwright.kit.settings import CallsSettings
from loopwright.kit.settings_drift import DriftSettings
from loopwright.monitoring.drift import DriftRound
from loopwright.monitoring.drift_store import Drift, Watch
from tests.monitoring.keeping import Kept, kept, record

TOPICS = ("card", "loan", "transfer", "refund")
STRANGE = "volcano"
_DIMENSIONS = 24


class Topical:
    """The topic of a text is a direction; its other words move it a little, the same way each time."""

    name = "minilm"
    dimensions = _DIMENSIONS

    async def __call__(self, texts: list[str], /, *, privacy: Privacy | None = None) -> list[list[float]]:
        del privacy
        return vectors_of(texts)


def vectors_of(texts: Sequence[str]) -> list[list[float]]:
    found = []
    for text in texts:
        seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])
        vector = np.random.default_rng(seed).normal(0, 0.06, _DIMENSIONS)
        for at, topic in enumerate((*TOPICS, STRANGE)):
            vector[at] += topic in text
        found.append((vector / np.linalg.norm(vector)).tolist())
    return found


def embedder_of(name: str) -> Embedder | None:
    return Topical() if name == "minilm" else None


class Watched:
    """A house with one watch."""

    def __init__(self, house: Kept, drift: Drift, watch: Watch, settings: DriftSettings) -> None:
        self.house, self.drift, self.id = house, drift, watch.id
        self.round = DriftRound(
            drift=drift, calls=house.calls, settings=settings, embedder_of=embedder_of, policy_of=_nothing
        )
        self.sent = 0
        self._now = time.time_ns() - 3_600 * 10**9

    async def ask(self, count: int, topics: Sequence[str] = TOPICS, **fields: Any) -> list[str]:
        """So many calls, the topics in turn; their ids."""
        records = []
        for _ in range(count):
            self.sent += 1
            self._now += 10**8
            topic = topics[self.sent % len(topics)]
            asked = f"about my {topic}: question {self.sent:04}"
            given: dict[str, Any] = {"said": f"an answer about {topic} {self.sent:04}", **fields}
            records.append(record(asked, given.pop("said"), started_ns=self._now, **given))
        await self.house.keep(*records)
        return [each.id for each in records]

    async def watch(self) -> Watch:
        return await self.drift.get(self.id, project_id=1)


async def _nothing(_watch: Watch) -> Privacy | None:
    return None


@asynccontextmanager
async def watched(
    url: str, folder: Path, *, seal: Seal = PLAIN, reference: int = 80, window: int = 80, **told: Any
) -> AsyncIterator[Watched]:
    async with kept(url, folder, settings=CallsSettings()) as house:
        drift = Drift(house.db, seal)
        given = {
            "embedder": "minilm", "trailing": False, "reference": reference, "window": window, "per_day": 10_000,
            "alpha": 0.01, "seen_to": None, **told,
        }  # fmt: skip
        watch = await drift.watch(1, "task/t", "ann", **given)
        yield Watched(house, drift, watch, DriftSettings(settle=0.001))
