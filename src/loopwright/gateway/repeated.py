"""Answers at the door what comes again in the very bytes of a question that the cache had answered: no task, no road.

A hit waits for nobody, so all that the road does for one can be done in the moment in which its last byte is read: the
key's scopes and limits are checked, the answer is looked for, counted and recorded, by those who do so on the road. What
cannot be answered so, for whatever reason, takes the road and is told there.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

import msgspec
from msgspec.structs import replace

from loopwright.access.allowances import Sizes
from loopwright.cache.cache import Cache
from loopwright.cache.memory import Sent
from loopwright.calls.record import Record
from loopwright.core.chat import CacheNote, Delta, Operation, Request, Trace
from loopwright.core.who import Principal
from loopwright.gateway.admitted import Admitted
from loopwright.gateway.cached import Policy, wording_of
from loopwright.gateway.recorded import Recorded

_ONE: Final = 1_000
"""Nanoseconds in a microsecond."""


class Again(msgspec.Struct, frozen=True, kw_only=True):
    """What a question that was a hit once is answered with, and how that is put on record."""

    project_id: int
    operation: Operation
    policy: Policy
    tags: Mapping[str, str]
    """The client's own."""
    sizes: Sizes
    """What it is taken to need, as `Admitted` reckons."""
    note: CacheNote
    record: Record
    """Of the hit it was; of the next one only the moment and who asked differ."""
    head: bytes
    """Lines of the response's head that say what answered."""
    body: bytes
    stream: bool


class Repeat(msgspec.Struct, frozen=True, kw_only=True):
    """Such a question, asked now."""

    id: str
    who: Principal
    started_ns: int
    """Unix time."""
    began: int
    """`time.perf_counter_ns()`."""
    tags: Mapping[str, str]
    trace: Trace
    client: str


class Repeated:
    """Knows questions by their bytes for as long as the cache knows their answers."""

    __slots__ = ("_admitted", "_cache", "_policies", "_recorded")

    def __init__(self, cache: Cache, policies: Mapping[str, Policy], *, admitted: Admitted, recorded: Recorded) -> None:
        self._cache = cache
        self._policies = policies
        self._admitted = admitted
        self._recorded = recorded

    def note(self, path: str, raw: bytes, request: Request, delta: Delta, head: bytes) -> None:
        """Note what a client that sent `raw` to `path` was answered, if it was a hit that the door could have given.

        That is: `request` reached the cache as it was read at the door, which then knows this very Delta by its words.
        """
        note, policy = delta.cache, self._policies.get(request.model)
        if note is None or note.kind != "hit" or policy is None or request.privacy is not None:
            return
        wording = wording_of(request, policy)
        if wording is None or self._cache.recall(wording) is not delta:
            return
        sizes = self._admitted.most(request)
        if sizes is None:
            return
        again = Again(
            project_id=request.who.project_id,
            operation=request.operation,
            policy=policy,
            tags=request.tags,
            sizes=sizes,
            note=note,
            record=self._recorded.whole(request, delta),
            head=head,
            body=delta.raw,
            stream=request.stream,
        )
        self._cache.memory.note_sent(wording, Sent(path, raw), again)

    def find(self, path: str, raw: bytes) -> Again | None:
        """What is known of a question; None is nothing."""
        found: Again | None = self._cache.recall_sent(Sent(path, raw))
        return found

    def answer(self, again: Again, asked: Repeat) -> bool:
        """Let it in, count it, put it on record; False, and nothing done, where it has to take the road.

        Raises:
            Unavailable: it cannot be recorded; what it had reserved is settled.
        """
        who, record = asked.who, again.record
        if who.project_id != again.project_id:
            return False
        if not self._admitted.lets_in(asked, record.model, again.operation, again.sizes):
            return False
        took = (time.perf_counter_ns() - asked.began) // _ONE
        trace = asked.trace
        self._recorded.spool.write(
            replace(
                record,
                id=asked.id,
                started_ns=asked.started_ns,
                key_id=who.key_id,
                ttft_us=took if again.stream else None,
                latency_us=took,
                client=asked.client,
                trace_id=trace.trace_id,
                span_id=trace.span_id,
                parent_id=trace.parent_id,
            )
        )
        self._cache.tally.add(who.project_id, again.policy.model, again.note)
        return True
