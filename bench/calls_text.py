"""Made-up traffic for `calls.py`: texts with the statistics of prose, calls with the statistics of a company."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

from loopwright.calls.record import Record
from loopwright.kit.ids import Ids

_VOCABULARY = 40_000
_SYLLABLES = [a + b for a in [*"bcdfghlmnprstvw", "st", "tr", "pl"] for b in [*"aeiou", "ai", "er", "on"]]
_SENTENCES = 60_000
_TASKS = (None, "classify", "summarise", "extract", "answer")


class Writer:
    """Writes text of a given length, no two alike."""

    def __init__(self, source: Path | None) -> None:
        self._random = np.random.default_rng(1)
        if source is None:
            self._sentences = self._made_up()
        else:
            found = re.split(r"(?<=[.!?])\s+", source.read_text(encoding="utf-8"))
            self._sentences = [" ".join(line.split()) for line in found if 20 < len(line) < 400]
        words = sorted({word for line in self._sentences[:20_000] for word in re.findall(r"\w+", line.casefold())})
        self.words = words

    def write(self, size: int) -> str:
        """About `size` characters."""
        mean = 110
        pieces = [self._sentences[i] for i in self._random.integers(len(self._sentences), size=size // mean * 2 + 2)]
        return " ".join(pieces)[:size]

    def _made_up(self) -> list[str]:
        lengths = self._random.integers(1, 5, size=_VOCABULARY)
        words = ["".join(self._random.choice(_SYLLABLES, size=length)) for length in lengths]
        weights = 1.0 / np.arange(1, _VOCABULARY + 1)
        picked = self._random.choice(_VOCABULARY, size=_SENTENCES * 16, p=weights / weights.sum())
        return [
            " ".join(words[i] for i in picked[start : start + 16]).capitalize() + "."
            for start in range(0, len(picked), 16)
        ]


class Traffic:
    """The calls, by number: time rises with it."""

    def __init__(self, writer: Writer, calls: int, *, until: datetime, days: int) -> None:
        self.until = until
        self.models = [f"model-{number}" for number in range(8)]
        self._writer = writer
        self._calls = calls
        self._step_ns = days * 86_400 * 10**9 // calls
        self._first_ns = int((until - timedelta(days=days)).timestamp() * 1e9)
        self._ids = Ids()
        self._random = np.random.default_rng(2)
        sample = np.random.default_rng(3).lognormal(14.0, 0.9, size=1_000_000)
        self._latencies = np.sort(sample)
        self._costs: list[int] = []
        self.common_word = writer.words[len(writer.words) // 2]

    def records(self, start: int, size: int) -> Iterator[Record]:
        """Calls `start` … `start + size`."""
        for number in range(start, start + size):
            yield self.record(number)

    def record(self, number: int) -> Record:
        """One call."""
        pick = self._random
        dice = pick.random(3)
        # A key belongs to a project and does one task or two, mostly with the same few models.
        key = min(int(pick.exponential(12.0)), 49)
        model = (key + min(int(pick.exponential(0.7)), 3)) % 8 if key < 48 else 7
        started = self._first_ns + number * self._step_ns
        latency = int(pick.lognormal(14.0, 0.9))
        outcome, status, code = _outcome(float(dice[0]))
        prompt = f"{self._writer.write(1400)} {self.rare_word(number)}"
        answer = self._writer.write(600)
        tokens_in, tokens_out = len(prompt) // 4, len(answer) // 4
        cost = None if model == 6 else tokens_in * (model + 1) * 90 + tokens_out * (model + 1) * 400
        self._costs.append(cost or 0)
        name = self.models[model]
        return Record(
            id=self._ids.new(started), started_ns=started, project_id=1 + key % 3, key_id=key,
            operation="chat", model=name, target=f"{name}-2026-07", provider=("openai", "llamacpp")[model % 2],
            outcome=outcome, status=status, error_code=code, error=None if code is None else "it went wrong",
            stream=bool(number % 2), ttft_us=latency // 10, latency_us=latency, input_tokens=tokens_in,
            output_tokens=tokens_out, cached_tokens=0, reasoning_tokens=0, usage_estimated=False, cost_nano=cost,
            price_source=None if cost is None else "genai-prices 2026-11-02", client="OpenAI/Python 1.66.0",
            session=self.session(number), trace_id=pick.bytes(16).hex(), span_id=pick.bytes(8).hex(),
            parent_id=pick.bytes(8).hex() if dice[2] < 0.5 else None,
            task=_TASKS[(key + int(dice[1] < 0.2)) % 5],
            variant=None, prompt_version=None,
            tags={"env": "prod" if number % 4 else "test", "customer": f"c{number * 7919 % 10_000}"},
            request=_request(name, prompt), answer=_answer(number, name, answer, tokens_in, tokens_out),
        )  # fmt: skip

    def session(self, number: int) -> str:
        """Eight calls in a row of every 64th share one."""
        return f"session-{number // 512:06d}-{number % 64:02d}"

    def rare_word(self, number: int) -> str:
        """A word that only call `number` has."""
        return f"ref{number:08x}q"

    def pairs(self, size: int) -> list[str]:
        """Words that are in many calls, but seldom in the same."""
        picked = np.random.default_rng(4).choice(self._writer.words, size=(size, 2))
        return [f"{one} {other}" for one, other in picked.tolist()]

    def latency_at(self, share: float) -> float:
        """Milliseconds that this share of calls stay below."""
        return float(np.quantile(self._latencies, share)) / 1000

    def cost_at(self, share: float) -> int:
        """Nanodollars that this share of calls stay below."""
        return int(np.quantile(self._costs, share))


def _outcome(dice: float) -> tuple[str, int, str | None]:
    if dice < 0.96:
        return "ok", 200, None
    if dice < 0.975:
        return "error", 504, "upstream_timeout"
    if dice < 0.985:
        return "error", 502, "upstream_error"
    if dice < 0.995:
        return "cancelled", 499, "client_closed"
    return ("refused", 429, "rate_limit_exceeded") if dice < 0.9999 else ("interrupted", 200, None)


def _request(model: str, prompt: str) -> bytes:
    messages = [{"role": "system", "content": "You are a helpful assistant."}, {"role": "user", "content": prompt}]
    return json.dumps({"model": model, "messages": messages, "temperature": 0.2, "max_tokens": 256}).encode()


def _answer(number: int, model: str, text: str, tokens_in: int, tokens_out: int) -> bytes:
    usage = {"prompt_tokens": tokens_in, "completion_tokens": tokens_out, "total_tokens": tokens_in + tokens_out}
    head = {"id": f"chatcmpl-{number * 2654435761 % 2**64:016x}", "created": 1_790_000_000 + number, "model": model}
    if not number % 2:
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return json.dumps(head | {"object": "chat.completion", "choices": [choice], "usage": usage}).encode()
    events = []
    for start in range(0, len(text), 40):
        choice = {"index": 0, "delta": {"content": text[start : start + 40]}, "finish_reason": None}
        events.append(head | {"object": "chat.completion.chunk", "choices": [choice]})
    last = {"index": 0, "delta": {}, "finish_reason": "stop"}
    events.append(head | {"object": "chat.completion.chunk", "choices": [last], "usage": usage})
    return b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events) + b"data: [DONE]\n\n"
