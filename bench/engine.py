"""Tokens a second through our gateway, against the same engine process driven directly.

Both roads get the same prompts in turn (direct, gateway, gateway, direct, …), with the engine's prefix cache off, so what
else the machine does hits both. The ratio is of all tokens over all time; the target is 0.97 or more. On a machine that
does other work the rounds swing by more than that: then look at the CPU time. What the gateway spends for each token,
beside what the engine spends, is the most it can cost on a core they share.

    python bench/engine.py                              # starts `loopwright up` in a temporary folder
    python bench/engine.py --gateway http://127.0.0.1:4100/v1 --gateway-key lw-… --engine http://127.0.0.1:40123/v1 --engine-key …
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import psutil

from loopwright.engines import endpoints

WORDS = ["harbour", "winter", "engine", "violin", "market", "garden", "bridge", "letter", "silver", "forest"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Road:
    """One way to the engine."""

    name: str
    url: str
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What one round of one road brought."""

    tokens: int
    seconds: float
    ttft: tuple[float, ...]

    @property
    def speed(self) -> float:
        """Tokens a second."""
        return self.tokens / self.seconds


def prompt(number: int) -> str:
    """About fifty tokens, different for each request of a round."""
    turned = WORDS[number % len(WORDS) :] + WORDS[: number % len(WORDS)]
    return f"Story {number}. Tell a short story with these words: {', '.join(turned)}. Begin with the first one."


async def ask(session: aiohttp.ClientSession, road: Road, model: str, number: int, tokens: int) -> tuple[int, float]:
    """Completion tokens by the engine's own count, and seconds to the first event."""
    body = {
        "model": model,
        "messages": [{"role": "user", "content": prompt(number)}],
        "max_tokens": tokens,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
        "ignore_eos": True,
        "cache_prompt": False,
    }
    begun, first, used = time.perf_counter(), 0.0, 0
    headers = {"Authorization": f"Bearer {road.key}"}
    async with session.post(f"{road.url}/chat/completions", json=body, headers=headers) as answer:
        if answer.status != 200:
            raise RuntimeError(f"{road.name}: {answer.status} {await answer.text()}")
        async for line in answer.content:
            first = first or time.perf_counter() - begun
            if b'"usage"' in line and line.startswith(b"data: {"):
                used = (json.loads(line[6:]).get("usage") or {}).get("completion_tokens", used)
    if used != tokens:
        raise RuntimeError(f"{road.name}: {used} tokens came, {tokens} were asked for")
    return used, first


async def one_round(road: Road, model: str, concurrency: int, requests: int, tokens: int) -> Round:
    """`requests` answers, `concurrency` at a time."""
    numbers = iter(range(requests))
    done: list[tuple[int, float]] = []
    connector = aiohttp.TCPConnector(force_close=True)  # llama.cpp closes after a stream, whatever its header says
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=600), connector=connector) as session:

        async def client() -> None:
            for number in numbers:
                done.append(await ask(session, road, model, number, tokens))  # noqa: PERF401 - each waits for its answer

        begun = time.perf_counter()
        await asyncio.gather(*(client() for _ in range(concurrency)))
        seconds = time.perf_counter() - begun
    return Round(tokens=sum(count for count, _ in done), seconds=seconds, ttft=tuple(first for _, first in done))


def cpu(pids: list[int]) -> float:
    """CPU seconds these processes have used."""
    return sum(sum(psutil.Process(pid).cpu_times()[:2]) for pid in pids)


async def compare(roads: tuple[Road, Road], model: str, told: argparse.Namespace, pids: dict[str, list[int]]) -> bool:
    """Print a table; whether every ratio reaches the target."""
    for road in roads:
        await one_round(road, model, 1, 1, 8)
    print(f"model {model}, {told.tokens} tokens an answer, {told.rounds} rounds of each road, in turn")
    print(f"{'at once':>7}  {'direct tok/s':>12}  {'gateway tok/s':>13}  {'ratio':>6}  TTFT p50 ms direct / gateway")
    good = True
    for concurrency in told.concurrency:
        rounds: dict[str, list[Round]] = {road.name: [] for road in roads}
        requests = concurrency * told.requests
        before = {name: cpu(numbers) for name, numbers in pids.items()}
        for turn in range(told.rounds):
            for road in roads if turn % 2 == 0 else roads[::-1]:
                rounds[road.name].append(await one_round(road, model, concurrency, requests, told.tokens))
        total = [sum(r.tokens for r in rounds[road.name]) / sum(r.seconds for r in rounds[road.name]) for road in roads]
        ttft = [1000 * statistics.median([t for r in rounds[road.name] for t in r.ttft]) for road in roads]
        ratio = total[1] / total[0]
        spent = {name: cpu(numbers) - before[name] for name, numbers in pids.items()}
        if spent:
            count = told.rounds * requests * told.tokens
            spent["engine"] /= 2 * count  # it answered both roads
            spent["gateway"] /= count
        good = good and ratio >= told.target
        print(
            f"{concurrency:>7}  {total[0]:>12.1f}  {total[1]:>13.1f}  {ratio:>6.3f}  {ttft[0]:.0f} / {ttft[1]:.0f}"
            f"   rounds {', '.join(f'{g.speed / d.speed:.2f}' for d, g in zip(*rounds.values(), strict=True))}"
        )
        if spent:
            print(
                f"{'':>7}  CPU a token: engine {1e3 * spent['engine']:.2f} ms, gateway {1e3 * spent['gateway']:.3f} ms "
                f"({spent['gateway'] / spent['engine']:.1%})"
            )
    return good


@contextlib.contextmanager
def house(home: Path) -> Iterator[tuple[str, str, list[int]]]:
    """A whole `loopwright up` of its own; gives the gateway's URL, its key and its processes."""
    child = subprocess.Popen(
        [sys.executable, "-m", "loopwright.cli.main", "up", "--port", "0"],
        env={**os.environ, "LOOPWRIGHT_HOME": str(home)},
        cwd=home,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert child.stdout is not None
        url = None
        for line in child.stdout:
            found = re.search(r"OpenAI\s+(http\S+)", line)
            url = found[1] if found else url
            if "models" in line:
                break
        if url is None:
            raise RuntimeError("loopwright up did not start; run it by hand to see why")
        workers = [one.pid for one in psutil.Process(child.pid).children() if "_gateway" in one.cmdline()]
        yield url, (home / "admin.key").read_text().strip(), workers
    finally:
        child.send_signal(signal.SIGTERM)
        child.wait(60)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gateway", help="URL of a running gateway, with /v1")
    parser.add_argument("--gateway-key", default="")
    parser.add_argument("--engine", help="URL of the engine behind it, with /v1")
    parser.add_argument("--engine-key", default="")
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 4, 8])
    parser.add_argument("--requests", type=int, default=2, help="requests of each client in a round")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--target", type=float, default=0.97)
    return parser.parse_args()


def main() -> int:
    told = arguments()
    if (told.gateway is None) != (told.engine is None):
        raise SystemExit("give both --gateway and --engine, or neither")
    if told.gateway:
        direct = Road(name="direct", url=told.engine, key=told.engine_key)
        through = Road(name="gateway", url=told.gateway, key=told.gateway_key)
        return 0 if asyncio.run(compare((direct, through), told.model, told, {})) else 1
    with tempfile.TemporaryDirectory() as folder, house(Path(folder)) as (url, key, workers):
        endpoint = endpoints.read(Path(folder))[told.model]
        direct = Road(name="direct", url=endpoint.url, key=endpoint.secret)
        pids = {"engine": [endpoint.pid or 0], "gateway": workers}
        good = asyncio.run(compare((direct, Road(name="gateway", url=url, key=key)), told.model, told, pids))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
