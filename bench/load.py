"""A fast closed-loop load generator for benchmarks: raw HTTP/1.1 on asyncio.Protocol, distinct requests, checked answers.

`python bench/load.py '{"port": …, "path": …, "headers": […], "model": …, "connections": 32, "seconds": 5, "warm": 1,
"stream": false, "same": false}'` prints one JSON line: requests, events, errors, mix-ups, latency and time to first event, µs.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from dataclasses import dataclass, field
from typing import Any, Final, cast

import uvloop

_FOX: Final = re.compile(rb" fox(\d+)")
_HASH: Final = re.compile(rb"#(\d+)")
_FILLER: Final = "the deployment was moved to Tuesday because the tests were slow. "


@dataclass(slots=True, kw_only=True)
class Tally:
    """What was seen in the measured time."""

    latencies: list[int] = field(default_factory=list)
    firsts: list[int] = field(default_factory=list)
    events: int = 0
    errors: int = 0
    mixed: int = 0
    undone: int = 0
    statuses: dict[str, int] = field(default_factory=dict)


class Client(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self, run: Run, number: int) -> None:
        self._run = run
        self._number = number
        self._step = 0
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None
        self._sent = 0
        self._first = 0
        self._events = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask at once."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by type
        self._ask()

    def connection_lost(self, _exc: Exception | None) -> None:
        """An unexpected end is an error, and asks again."""
        if not self._run.over:
            self._run.tally.errors += 1
            asyncio.get_running_loop().call_later(0.05, self._run.connect, self._number)

    def _ask(self) -> None:
        self._step += 1
        self._buffer.clear()
        self._first = self._events = 0
        self._marker = 1 if self._run.same else self._number * 1_000_000 + self._step
        self._sent = time.perf_counter_ns()
        assert self._transport is not None
        self._transport.write(self._run.request(self._marker))

    def data_received(self, data: bytes) -> None:
        """Collect until the answer is whole."""
        now = time.perf_counter_ns()
        self._buffer += data
        if self._run.stream:
            found = data.count(b"data: {")
            self._events += found
            if found and not self._first:
                self._first = now
            whole = data.endswith(b"0\r\n\r\n") or b"\r\n0\r\n\r\n" in data
        else:
            whole = self._whole()
        if whole:
            self._take(now)
            if self._run.over:
                assert self._transport is not None
                self._transport.close()
            else:
                self._ask()

    def _whole(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return False
        head = bytes(self._buffer[:end]).lower()
        if b"transfer-encoding: chunked" in head:
            return self._buffer.endswith(b"0\r\n\r\n")
        at = head.find(b"content-length:")
        size = int(head[at + 15 : head.find(b"\r", at) if head.find(b"\r", at) > 0 else None])
        return len(self._buffer) >= end + 4 + size

    def _take(self, now: int) -> None:
        tally, body = self._run.tally, bytes(self._buffer)
        status = body[9:12].decode()
        if not self._run.measuring:
            return
        tally.statuses[status] = tally.statuses.get(status, 0) + 1
        if status != "200":
            tally.errors += 1
            return
        tally.latencies.append(now - self._sent)
        marks = set((_FOX if self._run.stream else _HASH).findall(body))
        if marks != {str(self._marker).encode()}:
            tally.mixed += 1
        if self._run.stream:
            tally.events += self._events
            tally.firsts.append(self._first - self._sent)
            tally.undone += b"[DONE]" not in body


class Run:
    """All connections of one measurement."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self.plan = plan
        self.stream = bool(plan.get("stream"))
        self.same = bool(plan.get("same"))
        self.over = self.measuring = False
        self.tally = Tally()
        text = "You are a helpful assistant that answers briefly and in plain words. " * 4
        ask = "Note [[@@]]. Summarise the following note for a colleague who was away this week: " + _FILLER * 6
        ask += "lorem ipsum dolor sit amet " * (plan.get("extra", 0) // 27)
        body: dict[str, Any] = {
            "model": plan["model"],
            "messages": [{"role": "system", "content": text}, {"role": "user", "content": ask}],
            "temperature": 0.7,
            "max_tokens": 256,
        }
        if self.stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        before, after = json.dumps(body).encode().split(b"@@")
        head = f"POST {plan['path']} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
        head += "".join(f"{line}\r\n" for line in plan.get("headers", ())) + "content-length: "
        self._parts = head.encode(), before, after

    def request(self, marker: int) -> bytes:
        """The bytes of one request; `marker` makes it distinct."""
        head, before, after = self._parts
        mark = b"%d" % marker
        return b"%b%d\r\n\r\n%b%b%b" % (head, len(before) + len(mark) + len(after), before, mark, after)

    def connect(self, number: int) -> None:
        """Open one connection."""
        self._opening = asyncio.ensure_future(
            asyncio.get_running_loop().create_connection(lambda: Client(self, number), "127.0.0.1", self.plan["port"])
        )

    async def measure(self) -> dict[str, Any]:
        """Warm up, measure, report."""
        for number in range(1, self.plan["connections"] + 1):
            self.connect(number)
            if number % 64 == 0:
                await asyncio.sleep(0.01)
        await asyncio.sleep(self.plan["warm"])
        self.measuring = True
        print("measuring", flush=True)
        began = time.perf_counter()
        await asyncio.sleep(self.plan["seconds"])
        self.measuring, seconds = False, time.perf_counter() - began
        self.over = True
        return self.report(seconds)

    def report(self, seconds: float) -> dict[str, Any]:
        """Figures of the measured time."""
        tally = self.tally
        return {
            "requests": len(tally.latencies),
            "rps": len(tally.latencies) / seconds,
            "events": tally.events,
            "events_per_s": tally.events / seconds,
            "errors": tally.errors,
            "mixed": tally.mixed,
            "undone": tally.undone,
            "statuses": tally.statuses,
            "p50_us": _quantile(tally.latencies, 0.5),
            "p99_us": _quantile(tally.latencies, 0.99),
            "ttft_p50_us": _quantile(tally.firsts, 0.5),
            "ttft_p99_us": _quantile(tally.firsts, 0.99),
        }


def _quantile(values: list[int], share: float) -> float | None:
    if not values:
        return None
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)] / 1000


async def main(plan: dict[str, Any]) -> None:
    """Run one plan and print its report."""
    print(json.dumps(await Run(plan).measure()), flush=True)


if __name__ == "__main__":
    uvloop.run(main(json.loads(sys.argv[1])))
