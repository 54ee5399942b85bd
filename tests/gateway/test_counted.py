"""What is counted of each call: exactly what is on record, by names that are ours, however the process ends."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from loopwright.calls.record import Opened, Record
from loopwright.core.errors import Unavailable
from loopwright.gateway.counted import CALL_CELLS, HISTOGRAMS, Counted, Meters, buried, places
from loopwright.kit.cells import Rows, read

KEY = "lw-secret-0123456789"


def record(**named: Any) -> Record:
    usual: dict[str, Any] = {
        "id": "01990000-0000-7000-8000-000000000001",
        "started_ns": 1,
        "project_id": 1,
        "key_id": 2,
        "operation": "chat",
        "model": "fast",
        "target": "gpt",
        "provider": "openai",
        "outcome": "ok",
        "status": 200,
        "error_code": None,
        "error": None,
        "stream": True,
        "ttft_us": 250_000,
        "latency_us": 1_250_000,
        "input_tokens": 120,
        "output_tokens": 41,
        "cached_tokens": 0,
        "reasoning_tokens": 0,
        "usage_estimated": False,
        "cost_nano": 1_500,
        "price_source": "test",
        "client": "c",
        "session": None,
        "trace_id": "a" * 32,
        "span_id": "b" * 16,
        "parent_id": None,
        "task": None,
        "variant": None,
        "prompt_version": None,
        "tags": {},
        "request": b"",
        "answer": b"",
    }
    return Record(**(usual | named))


class Taking:
    """A spool that takes all, or nothing."""

    def __init__(self) -> None:
        self.full = False

    def write(self, _record: Record | Opened) -> None:
        """Take it."""
        if self.full:
            raise Unavailable("full", retry_after=1.0)


@pytest.fixture
def meters(tmp_path: Path) -> Iterator[Meters]:
    found = Meters.begin(tmp_path, ["fast", "slow"], series=40)
    yield found
    found.close()


def calls(rows: Rows) -> dict[tuple[str, ...], dict[str, int]]:
    return {
        labels[1:]: {name: value for name, value in zip(CALL_CELLS, values, strict=True) if value}
        for labels, values in rows.items()
        if labels[0] == "calls"
    }


def test_a_call_counts_as_it_is_on_record(meters: Meters, tmp_path: Path) -> None:
    meters.count(record())
    meters.count(record(cached_tokens=100, reasoning_tokens=5, cost_nano=None, tags={"loopwright.attempts": "3"}))
    hit = {"loopwright.cache": "semantic-hit", "loopwright.saved_usd": "0.000002"}
    meters.count(record(price_source="cache", cost_nano=0, tags=hit, task="sort"))
    assert calls(read(tmp_path).rows) == {
        ("1", "", "fast", "openai", "chat", "ok", ""): {
            "requests": 2, "input": 240, "output": 82, "cached": 100, "reasoning": 5, "cost_nano": 1500, "unpriced": 1,
            "attempts": 2,
        },
        ("1", "sort", "fast", "openai", "chat", "ok", ""): {
            "requests": 1, "input": 120, "output": 41, "semantic": 1, "saved_nano": 2000,
        },
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value", "bucket"),
    [
        ("duration", 0, 0), ("duration", 10_000, 0), ("duration", 10_001, 1), ("duration", 40_000, 2),
        ("duration", 81_920_000, 13), ("duration", 81_920_001, 14), ("duration", 10**12, 14),
        ("ttft", 0, 0), ("ttft", 1_000, 0), ("ttft", 1_001, 1), ("ttft", 100_000, 7), ("ttft", 100_001, 8),
        ("ttft", 10_000_000, 15), ("ttft", 10_000_001, 16),
        ("input", 1, 0), ("input", 2, 1), ("input", 4, 1), ("input", 5, 2), ("input", 4**13, 13), ("input", 4**13 + 1, 14),
        ("output", 16, 2), ("output", 17, 3),
    ],
)  # fmt: skip
def test_each_value_falls_into_the_bucket_of_the_conventions(
    meters: Meters, tmp_path: Path, name: str, value: int, bucket: int
) -> None:
    fields = {"duration": "latency_us", "ttft": "ttft_us", "input": "input_tokens", "output": "output_tokens"}
    usual = {"latency_us": max(value, 20_000_000)} if name == "ttft" else {"ttft_us": None}
    meters.count(record(**(usual | {fields[name]: value})))
    [values] = [values for labels, values in read(tmp_path).rows.items() if labels[0] == "times"]
    at = places()[name]
    assert values[at] == value
    assert [index for index, count in enumerate(values[at + 1 : at + 2 + len(HISTOGRAMS[name])]) if count] == [bucket]


def test_every_bucket_is_the_one_that_a_search_would_find(meters: Meters, tmp_path: Path) -> None:
    expected = {name: [0] * (len(bounds) + 1) for name, bounds in HISTOGRAMS.items()}
    value = 1
    while value < 3 * 10**7:
        made = 2 + value % 97
        meters.count(record(latency_us=value * 2, ttft_us=value, output_tokens=made, input_tokens=value))
        seen = {"duration": value * 2, "ttft": value, "tpot": value // (made - 1), "input": value, "output": made}
        for name, one in seen.items():
            bounds = HISTOGRAMS[name]
            expected[name][next((i for i, bound in enumerate(bounds) if one <= bound), len(bounds))] += 1
        value += 1 + value // 7
    [values] = [values for labels, values in read(tmp_path).rows.items() if labels[0] == "times"]
    for name, counts in expected.items():
        at = places()[name] + 1
        assert values[at : at + len(counts)] == counts


def test_labels_are_names_of_ours_and_their_number_is_bounded(meters: Meters, tmp_path: Path) -> None:
    for number in range(500):
        meters.count(record(model=f"{KEY} {number}", provider="", outcome="refused", error_code="not_found"))
        meters.count(record(task=f"t{number}"))
        meters.count(record(error_code=f"{KEY} {number}", outcome="error"))
        meters.event("odd", str(number))
    rows = read(tmp_path).rows
    assert KEY not in json.dumps(list(rows))
    assert sum(1 for labels in rows if labels[0] == "calls") <= 42
    assert sum(values[0] for labels, values in rows.items() if labels[0] == "calls") == 1500
    assert calls(rows)["1", "", "other", "", "chat", "refused", "not_found"]["requests"] == 500
    assert sum(1 for labels in rows if labels[0] == "events") <= 41


def test_what_could_not_be_recorded_is_counted_as_that(meters: Meters, tmp_path: Path) -> None:
    spool = Taking()
    counted = Counted(spool, meters)
    counted.write(record())
    spool.full = True
    with pytest.raises(Unavailable):
        counted.write(record())
    rows = read(tmp_path).rows
    assert rows["events", "unrecorded"] == [1]
    assert calls(rows)["1", "", "fast", "openai", "chat", "ok", ""]["requests"] == 1


def test_what_was_replaced_in_a_request_counts_once(meters: Meters, tmp_path: Path) -> None:
    meters.count(record(sent=[{"redacted": {"email": 1}}, {"redacted": {"email": 2, "iban": 1}, "sensitive": "email"}]))
    rows = read(tmp_path).rows
    assert {labels[1]: values[0] for labels, values in rows.items() if labels[0] == "guarded"} == {
        "email": 2, "iban": 1, "sensitive": 1,
    }  # fmt: skip


_DIES = """
import os, signal, sys
from pathlib import Path
from loopwright.calls.record import Opened
from loopwright.gateway.counted import Meters
from tests.gateway.test_counted import record
meters = Meters.begin(Path(sys.argv[1]), ["fast"], series=40)
for number in range(50):
    meters.opened(record(id=str(number)))
for number in range(47):
    meters.count(record(id=str(number)))
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_worker_that_is_killed_leaves_exact_counts_and_interrupted_streams(tmp_path: Path) -> None:
    assert subprocess.run([sys.executable, "-c", _DIES, str(tmp_path)], check=False).returncode == -9
    living = Meters.begin(tmp_path, ["fast"], series=40)
    living.count(record())
    living.opened(record(id="open"))
    rows = read(tmp_path, buried).rows
    found = calls(rows)
    assert found["1", "", "fast", "openai", "chat", "ok", ""]["requests"] == 48
    assert found["1", "", "fast", "", "chat", "interrupted", ""]["requests"] == 3
    assert rows["open", "1", "", "fast", "chat"] == [1]
    living.close()
    living.count(record())


def test_after_its_end_nothing_breaks(meters: Meters) -> None:
    meters.close()
    meters.count(record(model="slow"))
    meters.event("late")
    meters.opened(record())
    meters.close()
