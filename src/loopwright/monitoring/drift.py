"""Looks for drift: takes calls that settled, embeds a bounded share of them, and says what moved. One round of many.

Fit to be broken off at any moment: what was looked at is in the database, and what a look says is worked out anew.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np

from loopwright.calls.onward import onward, with_texts
from loopwright.calls.query import CallFilter, Calls
from loopwright.core.chat import Embedder
from loopwright.core.errors import BadRequest, LoopwrightError
from loopwright.core.privacy import Privacy
from loopwright.kit.settings_drift import DriftSettings
from loopwright.monitoring import drift_statistics as statistics
from loopwright.monitoring.alerts import raise_alert
from loopwright.monitoring.drift_examples import EXAMPLES, examples
from loopwright.monitoring.drift_features import Features, features
from loopwright.monitoring.drift_findings import alert_of, resolve
from loopwright.monitoring.drift_looking import Look, Looking, Scores
from loopwright.monitoring.drift_sample import Point, Sample
from loopwright.monitoring.drift_store import Drift, Watch

_log = logging.getLogger(__name__)
EmbedderOf = Callable[[str], Embedder | None]
PolicyOf = Callable[[Watch], Awaitable[Privacy | None]]
OURS: Final = frozenset({"loopwright.evaluation", "loopwright.canary"})
"""Tags of calls that the house itself makes: they say nothing of what people ask."""
_TOGETHER: Final = 200
"""Calls that are read and embedded at once."""
_BATCHES: Final = 12
"""Of those in one round of one watch: others wait for theirs."""
_SHORT: Final = 200
"""Characters to which texts are cut that the embedder will not read."""
_TEXTS: Final = 64
"""Texts of one request to the embedder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftRound:
    """Goes through all that is watched."""

    drift: Drift
    calls: Calls
    settings: DriftSettings
    embedder_of: EmbedderOf
    policy_of: PolicyOf
    name: str = "drift"

    @property
    def every(self) -> float:
        """See `Round`."""
        return self.settings.every

    async def __call__(self) -> None:
        """Look at each watch; what fails at one is told on its page and holds up no other."""
        await self.drift.sweep()
        for watch in await self.drift.watches():
            if watch.state == "paused":
                continue
            try:
                await self._go(watch)
            except LoopwrightError as error:
                _log.warning("drift of %s: %s", watch.subject, error.message)
                await self.drift.change(watch, problem=error.message[:500])

    async def _go(self, watch: Watch) -> None:
        for _ in range(_BATCHES):
            watch = await self.drift.get(watch.id, project_id=None)
            counts = await self.drift.counts(watch)
            if watch.state == "watching" and counts.get(0, 0) < watch.reference_size // 2:
                # Its calls went, by retention or deletion: what is normal is learnt anew.
                await self.drift.accept(watch, since=max(watch.window_number - 1, 1))
                continue
            learning = watch.state == "learning"
            number = 0 if learning else watch.window_number
            size = watch.reference_size if learning else watch.window_size
            room = max(size - counts.get(number, 0), 0)
            done = await self._take(watch, number, min(room, _TOGETHER)) if room else True
            if learning:
                if not room or (await self.drift.counts(watch)).get(0, 0) >= size:
                    await self._learn(watch)
            else:
                await self._look(watch)
            if done and room:
                return

    # ---- calls taken in ----

    async def _take(self, watch: Watch, number: int, room: int) -> bool:
        """Take in what is next; whether there was nothing left."""
        until = datetime.now(UTC) - timedelta(seconds=self.settings.settle)
        which = filter_of(watch, until=until)
        found = await onward(self.drift.db, which, after=watch.seen_to, limit=_TOGETHER)
        if not found:
            return True
        watch = _today(watch)
        chance = 1.0 if number == 0 else await self._chance(watch, len(found))
        chosen: list[str] = []
        last = found[-1].id
        for call in found:
            if OURS.isdisjoint(call.tags) and _lot(call.id) < chance:
                chosen.append(call.id)
                if len(chosen) >= room:
                    last = call.id
                    break
        if number and len(chosen) > max(watch.per_day - watch.taken, 0):
            chosen = chosen[: max(watch.per_day - watch.taken, 0)]
        seen = [told for each in await with_texts(self.drift.db, chosen, self.drift.seal) if (told := features(each))]
        points = await self._points(watch, seen)
        await self.drift.put(watch, points, number, seen_to=last, taken=len(points) if number else 0)
        return len(found) < _TOGETHER and last == found[-1].id

    async def _chance(self, watch: Watch, waiting: int) -> float:
        """The share of calls that the rest of the day can pay for, if it is like the day before."""
        left = max(watch.per_day - watch.taken, 0)
        summary = await self.calls.summary(filter_of(watch, until=None))
        now = datetime.now(UTC)
        rest = 1 - (now - now.replace(hour=0, minute=0, second=0, microsecond=0)).total_seconds() / 86_400
        return min(1.0, left / max(summary.counts.requests * rest, waiting, 1))

    async def _points(self, watch: Watch, seen: Sequence[Features]) -> list[Point]:
        embedder = self.embedder_of(watch.embedder)
        if embedder is None:
            raise BadRequest(f"there is no model {watch.embedder!r} that embeds: configure one, or watch with another")
        privacy = await self.policy_of(watch)
        texts = list(dict.fromkeys(text for each in seen for text in (each.input, each.output) if text))
        vectors = await _embedded(embedder, texts, privacy)
        points = []
        for each in seen:
            asked, answered = vectors.get(each.input), vectors.get(each.output or "")
            if asked is None:
                continue
            points.append(
                Point(
                    call_id=each.call_id,
                    key_id=each.key_id,
                    input_length=each.input_length,
                    output_length=each.output_length if answered is not None else None,
                    language=each.language,
                    output_language=each.output_language,
                    refused=each.refused,
                    malformed=each.malformed,
                    input=asked,
                    output=answered,
                )
            )
        return points

    # ---- what is normal, and what moved ----

    async def _learn(self, watch: Watch) -> None:
        reference = await self.drift.sample(watch, 0)
        half = reference.halves()[0].inputs
        centres = await asyncio.to_thread(statistics.clusters, half, seed=watch.id)
        own = statistics.nearest(centres, reference.inputs)
        await self.drift.group(watch, {name: int(at) for name, at in zip(reference.ids, own, strict=True)})
        await self.drift.change(
            watch,
            state="watching",
            topics=self.drift.sealed_topics(watch, centres),
            sealed_by=self.drift.seal.first,
            learnt_at=datetime.now(UTC),
        )

    async def _look(self, watch: Watch) -> None:
        current = await self.drift.sample(watch, watch.window_number)
        earlier = await self.drift.looks(watch, number=watch.window_number)
        after = int(earlier[-1]["calls"]) if earlier else 0
        if len(current) < after + watch.step:
            return
        looking, centres = await self._looking(watch, current)
        if centres is not None:
            own = statistics.nearest(centres, current.inputs)
            await self.drift.group(watch, {name: int(at) for name, at in zip(current.ids, own, strict=True)})
        before = earlier[-1]["features"] if earlier else {}
        last: Look | None = None
        # In a thread: others go round in this process, too.
        for look in await asyncio.to_thread(lambda: [*looking.looks(current, after=after, before=before)]):
            await self.drift.note(watch, look.calls, current.at(look.calls - 1), look.features)
            if look.moved(watch.alpha):
                await self._found(watch, look, looking, current.first(look.calls))
            last = look
        if last is not None and last.calls >= watch.window_size:
            await self._close(watch, quiet=not last.moved(watch.alpha))

    async def _looking(self, watch: Watch, current: Sample) -> tuple[Looking, Any]:
        reference = await self.drift.sample(watch, 0)
        inputs = reference.inputs
        centres = self.drift.topics(watch, inputs.shape[1] if inputs.size else 0)
        scores = await scores_of(self.drift, [*reference.ids, *current.ids])
        looking = Looking(
            reference=reference,
            centres=centres,
            window=watch.window_size,
            step=watch.step,
            seed=watch.id * 1_000 + watch.window_number,
            scores=scores,
        )
        return looking, centres

    async def _found(self, watch: Watch, look: Look, looking: Looking, current: Sample) -> None:
        moved = look.moved(watch.alpha)
        fresh: list[str] = []
        former: list[str] = []
        for name in moved[:3]:
            told = look.features[name]
            now, then = examples(name, told, looking.reference, current, looking.centres, looking.scores)
            fresh += now[: EXAMPLES // min(len(moved), 3) + 1]
            former += then[: EXAMPLES // min(len(moved), 3) + 1]
        told_of = {name: look.features[name] for name in moved}
        since = current.at(0)
        finding = await self.drift.found(
            watch,
            {
                "calls": look.calls,
                "since": since,
                "features": told_of,
                "fresh": list(dict.fromkeys(fresh)),
                "former": list(dict.fromkeys(former)),
            },
        )
        await raise_alert(self.drift.db, alert_of(watch, finding, look, since, current.at(len(current) - 1), fresh))

    async def _close(self, watch: Watch, *, quiet: bool) -> None:
        if quiet and await self.drift.close(watch, "passed", "loopwright") is not None:
            await resolve(self.drift, watch)
        await self.drift.next_window(watch, absorb=quiet and watch.trailing)


def filter_of(watch: Watch, *, until: datetime | None) -> CallFilter:
    """The calls of a watch."""
    return CallFilter(
        project_id=watch.project_id,
        task=watch.name if watch.kind == "task" else None,
        model=watch.name if watch.kind == "model" else None,
        until=until,
    )


async def history(calls: Calls, watch_of: CallFilter, count: int) -> str | None:
    """The call after which the newest `count` begin; None when there are fewer."""
    before: str | None = None
    left = count
    while left > 0:
        page = await calls.page(watch_of, before=before, limit=min(left, 1_000))
        left -= len(page.calls)
        before = page.next
        if before is None:
            return None
    return before and f"{int(before.replace('-', ''), 16) - 1:032x}"  # it is the oldest of them


async def scores_of(drift: Drift, ids: Sequence[str]) -> Scores:
    """What was said of calls in numbers, by name."""
    rows = await drift.db.rows(
        """select name, call_id::text as call, avg(value) as value from feedback_scores
           where call_id = any(%s::uuid[]) and value is not null group by name, call_id""",
        (list(ids),),
    )
    found: dict[str, dict[str, float]] = {}
    for row in rows:
        found.setdefault(row["name"], {})[row["call"]] = float(row["value"])
    # The more names, the dearer is each: those that most calls have.
    return dict(sorted(found.items(), key=lambda each: (-len(each[1]), each[0]))[:12])


def _today(watch: Watch) -> Watch:
    today = datetime.now(UTC).date()
    return watch if watch.day == today else replace(watch, day=today, taken=0)


def _lot(call_id: str) -> float:
    return int.from_bytes(hashlib.blake2b(call_id.encode(), digest_size=8).digest()) / 2**64


async def _embedded(embedder: Embedder, texts: Sequence[str], privacy: Privacy | None) -> Mapping[str, Any]:
    found: dict[str, Any] = {}
    for begin in range(0, len(texts), _TEXTS):
        some = list(texts[begin : begin + _TEXTS])
        try:
            vectors = await embedder(some, privacy=privacy)
        except LoopwrightError as error:
            if error.status != 400:
                raise
            # One of them is too long in tokens for its characters.
            vectors = await embedder([text[:_SHORT] for text in some], privacy=privacy)
        found |= {text: np.asarray(vector, dtype=np.float32) for text, vector in zip(some, vectors, strict=True)}
    return found
