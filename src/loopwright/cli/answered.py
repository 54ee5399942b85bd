"""What a run has asked already, taken from the calls on record: going on with it pays for nothing twice."""

from __future__ import annotations

import hashlib
import json
import time
from collections import defaultdict, deque
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from loopwright.client import Client
from loopwright.core.chat import Delta
from loopwright.core.errors import NotFound
from loopwright.core.money import NANO, Usage
from loopwright.evals.paced import Said

TAG: Final = "loopwright.run"
_OURS: Final = frozenset({"loopwright", "stream", "stream_options"})
_SETTLED: Final = 30.0
"""Seconds that calls may take from the spool to the record."""


class Answered:
    """Answers by what was asked. What was asked several times is there as often."""

    def __init__(self) -> None:
        self._said: defaultdict[str, deque[Said]] = defaultdict(deque)
        self.count = 0

    @classmethod
    def of(cls, client: Client, run_id: str) -> Answered:
        """All that the calls of a run hold; those whose texts are not kept are left out, and asked again."""
        end = time.monotonic() + _SETTLED
        while client.status()["waiting_bytes"] and time.monotonic() < end:
            time.sleep(0.2)
        found = cls()
        for call in client.each_call(tag=f"{TAG}:{run_id}", outcome="ok"):
            try:
                found.add(client.call(call["id"]))
            except NotFound:
                continue  # deleted since its page was read
        return found

    def add(self, whole: Mapping[str, Any]) -> None:
        """One call with its texts."""
        asked, answer, call = whole.get("request"), whole.get("response"), whole["call"]
        if not isinstance(asked, dict) or not isinstance(answer, dict):
            return
        delta = Delta(
            raw=json.dumps(answer).encode(),
            usage=Usage(input=int(call.get("input_tokens") or 0), output=int(call.get("output_tokens") or 0)),
            cost_nano=None if call.get("cost_usd") is None else int(Decimal(call["cost_usd"]) * NANO),
            model=str(call.get("model") or ""),
            done=True,
        )
        # Newest first as they come: the oldest is to be taken first.
        self._said[named(asked)].appendleft(Said(delta=delta, call_id=str(call["id"]), latency_us=0))
        self.count += 1

    def take(self, body: Mapping[str, Any]) -> Said | None:
        """The answer to what is asked, once; None when there is none left."""
        kept = self._said.get(named(body))
        return kept.popleft() if kept else None


def named(body: Mapping[str, Any]) -> str:
    """What is the same question has the same name, whoever tags it."""
    asked = {name: value for name, value in body.items() if name not in _OURS}
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
