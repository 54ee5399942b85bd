"""Answers again what was answered before: the same question, or one that means the same where a model opts in.

Stands inside `Admitted`, so a key gets only what it may ask for, and outside `Routed`, so a hit calls nobody. What is
kept is one body for both wire forms; what takes longer than a glance is made ready after the client has its answer. An
answer that is on record just as it came is not written a second time: whoever records the call puts its key there.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from loopwright.cache.cache import Cache
from loopwright.cache.entry import Entry, Likeness
from loopwright.cache.guard import guard
from loopwright.cache.memory import LONGEST_WORDING, Wording
from loopwright.cache.question import Question, plain, question, repeats_a_member, said
from loopwright.calls.rows import clipped
from loopwright.core.chat import CacheNote, Chat, Delta, Embedder, Keep, Ready, Request, answering
from loopwright.core.errors import LoopwrightError, Refused
from loopwright.core.money import Price, Usage
from loopwright.gateway import replayed
from loopwright.gateway.embedder import CalledEmbedder
from loopwright.gateway.routed import Target
from loopwright.kit.ids import Ids
from loopwright.kit.settings import ModelCacheSettings, ModelSettings

PROVIDER: Final = "cache"
_MISS: Final = CacheNote(kind="miss")
_EMBEDDING: Final = 2.0
"""Seconds the vector of a question may take; later it is a miss."""
PriceOf = Callable[[str, str, str], Price | None]
"""From the name that was asked for, the provider and its own name of the model to the price."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How answers of one model are kept."""

    model: str
    """Its configured name."""
    settings: ModelCacheSettings
    ttl: float
    """Seconds; no longer than its call is kept."""
    embedder: Embedder | None = None
    """For hits by likeness; None is exact only."""


def policies_of(models: Mapping[str, ModelSettings], targets: Mapping[str, Target], days: int) -> dict[str, Policy]:
    """Whose answers are given again, by every name that calls them; none is kept longer than calls are: `days`."""
    policies: dict[str, Policy] = {}
    for name, model in models.items():
        kept = model.cache
        if kept is None:
            continue
        embedder = None
        if kept.semantic is not None and kept.semantic.embedder in targets:
            target = targets[kept.semantic.embedder]
            embedder = CalledEmbedder(target.chat, kept.semantic.embedder, Ids())
        policy = Policy(model=name, settings=kept, ttl=min(kept.ttl, days * 86_400.0), embedder=embedder)
        policies.update(dict.fromkeys((name, *model.aliases), policy))
    return policies


@dataclass(frozen=True, slots=True)
class Cached:
    """Looks up first, keeps after."""

    inner: Chat
    cache: Cache
    policies: Mapping[str, Policy]
    """By every name that calls a model whose answers are kept."""
    price: PriceOf

    def __call__(self, request: Request) -> AsyncGenerator[Delta, None]:  # noqa: PLR0911 - one for each way
        """Answer from what is held, or ask; a model without a cache costs one look into a dict."""
        policy = self.policies.get(request.model)
        if policy is None:
            return self.inner(request)
        control, privacy = request.cache_control, request.privacy
        if (control and "no-store" in control) or (privacy is not None and not privacy.store):
            return self.inner(request)
        fresh = control and ("no-cache" in control or "max-age=0" in control)
        wording = None if fresh else wording_of(request, policy)
        if wording is not None:
            known = self.cache.recall(wording)
            if known is not None and known.cache is not None:
                self.cache.tally.add(request.who.project_id, policy.model, known.cache)
                return Ready(known)
        asked = question(request, policy.model)
        if asked is None or not (asked.settled or policy.settings.exact.any):
            return self.inner(request)
        if fresh:
            return self._ask(request, policy, asked, None)
        entry = self.cache.find(asked.key)
        if entry is not None:
            delta = self._again(request, policy, entry, None)
            if wording is not None:
                self.cache.memory.note(wording, entry, delta)
            return Ready(delta)
        if policy.embedder is None and not self.cache.elsewhere(asked.key):
            return self._ask(request, policy, asked, None)
        return self._look(request, policy, asked)

    async def _look(self, request: Request, policy: Policy, asked: Question) -> AsyncGenerator[Delta, None]:
        """Where looking takes time: the database has it, or something like it."""
        entry = await self.cache.fetch(asked.key) if self.cache.elsewhere(asked.key) else None
        likeness: Likeness | None = None
        similarity: float | None = None
        if entry is None and policy.embedder is not None and policy.settings.semantic is not None:
            likeness = await _likeness(request, policy, policy.embedder, asked)
            found = None if likeness is None else await self.cache.nearest(likeness)
            if found is not None:
                enough = self.cache.threshold(request.who.project_id, policy.model, policy.settings.semantic.threshold)
                if found[1] >= enough:
                    entry, similarity = found
        chat = (
            Ready(self._again(request, policy, entry, similarity))
            if entry is not None
            else self._ask(request, policy, asked, likeness)
        )
        async with answering(lambda _request: chat, request) as answer:
            async for delta in answer:
                yield delta

    def _again(self, request: Request, policy: Policy, entry: Entry, similarity: float | None) -> Delta:
        note = CacheNote(
            kind="hit" if similarity is None else "semantic-hit",
            call_id=entry.call_id,
            similarity=similarity,
            saved_nano=entry.cost_nano,
        )
        self.cache.tally.add(request.who.project_id, policy.model, note)
        raw = replayed.events(entry.body, request) if request.stream else entry.body
        return Delta(
            raw=raw, usage=entry.usage, cost_nano=0, done=True, model=entry.target, provider=PROVIDER, cache=note
        )

    async def _ask(
        self, request: Request, policy: Policy, asked: Question, likeness: Likeness | None
    ) -> AsyncGenerator[Delta, None]:
        self.cache.tally.add(request.who.project_id, policy.model, _MISS)
        gathered = _Gathered(self.cache.settings.entry)
        answer = self.inner(request)
        keep: Keep | None = None
        try:
            async for delta in answer:
                first = not gathered.began
                gathered.add(delta)
                if delta.done and gathered.raw:
                    if first and policy.embedder is None:
                        keep = self._for_record(request, policy, asked, delta)
                    if keep is None:
                        # Behind what is ready now: this answer goes out before it is made ready to be kept.
                        self.cache.behind(partial(self._keep, request, policy, asked, likeness, gathered))
                yield delta.noting(_MISS, keep) if first else delta
        finally:
            await answer.aclose()
            if keep is not None:
                self._hold(request, policy, gathered, keep)

    def _for_record(self, request: Request, policy: Policy, asked: Question, delta: Delta) -> Keep | None:
        """What whoever records the call may find it by.

        None where it may not be given again, a glance does not tell, or the record does not tell all that is given with it.
        """
        if not self.cache.settings.shared or not replayed.usual(
            delta.raw, request, truncated=policy.settings.truncated
        ):
            return None
        if request.raw is not None and not plain(request.raw, asked.quotes):
            return None
        usage, session = delta.usage, request.session
        if (
            usage is None
            or usage.cache_written
            or request.notes
            or (session is not None and clipped(session) != session)
        ):
            return None
        return Keep(asked.key, delta.raw, time.time() + policy.ttl)

    def _keep(
        self, request: Request, policy: Policy, asked: Question, likeness: Likeness | None, gathered: _Gathered
    ) -> None:
        body = replayed.kept(b"".join(gathered.raw), request, gathered.usage, truncated=policy.settings.truncated)
        if body is None or (request.raw is not None and repeats_a_member(request.raw, asked.quotes)):
            return
        self._hold(request, policy, gathered, Keep(asked.key, body, time.time() + policy.ttl), likeness)

    def _hold(
        self, request: Request, policy: Policy, gathered: _Gathered, keep: Keep, likeness: Likeness | None = None
    ) -> None:
        """Hold an answer whose form is good: share it, too, where it is not on record."""
        cost = keep.cost_nano
        if not keep.recorded and gathered.usage is not None:
            price = self.price(request.model, gathered.provider, gathered.model)
            if price is not None:
                cost = price.cost(gathered.usage, seconds=(time.perf_counter_ns() - gathered.started) / 1e9)
        entry = Entry(
            key=keep.key,
            body=keep.body,
            expires=keep.until,
            call_id=request.id,
            project_id=request.who.project_id,
            key_id=request.who.key_id,
            session=request.session,
            tags=request.tags,
            model=policy.model,
            target=gathered.model,
            usage=gathered.usage,
            cost_nano=cost,
            started_ns=request.started_ns,
        )
        self.cache.put(entry, likeness, recorded=keep.recorded)


def wording_of(request: Request, policy: Policy) -> Wording | None:
    """How a question is put, where it is short and all that decides the answer: an adapter stands beside it."""
    raw = request.raw
    if not raw or request.adapter is not None or len(raw) > LONGEST_WORDING:
        return None
    return Wording(request.who.project_id, policy.model, request.operation, request.stream, request.wants_usage, raw)


class _Gathered:
    """What passes of an answer that may be kept."""

    __slots__ = ("_limit", "_size", "began", "model", "provider", "raw", "started", "usage")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self.began = False
        self.raw: list[bytes] = []
        self.usage: Usage | None = None
        self.model = ""
        self.provider = ""
        self.started = time.perf_counter_ns()

    def add(self, delta: Delta) -> None:
        self.began = True
        if delta.provider:
            self.provider, self.model = delta.provider, delta.model
        if delta.usage is not None:
            self.usage = delta.usage
        self._size += len(delta.raw)
        if self._size <= self._limit:
            self.raw.append(delta.raw)
        else:
            self.raw.clear()


async def _likeness(request: Request, policy: Policy, embedder: Embedder, asked: Question) -> Likeness | None:
    """By what the question can be like others; None when it cannot, or its vector is late."""
    found = said(request, policy.model, asked.members)
    if found is None:
        return None
    try:
        async with asyncio.timeout(_EMBEDDING):
            [vector] = await embedder([found.text], privacy=request.privacy)
    except Refused:
        return None  # the policy does not let the text reach the embedder
    except (LoopwrightError, TimeoutError) as error:
        _log.warning("no hit by likeness for %s: %s", policy.model, str(error) or "its embedder is late")
        return None
    return Likeness(partition=found.partition, guard=guard(found.text), vector=tuple(vector))
