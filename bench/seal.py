"""Measures what encryption at rest costs: CPU and bytes of a call, with a key and without.

.venv/bin/python bench/seal.py            # half a minute; texts of 2 KB a call as in calls.py
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from calls_text import Traffic, Writer
from loopwright.calls.frames import encode_into
from loopwright.calls.payloads import BLOCK_CALLS, Packer, Payload, about
from loopwright.calls.record import Record
from loopwright.calls.spool import Spool
from loopwright.calls.words import all_words_of, hash_of
from loopwright.kit.keyring import SealingKey
from loopwright.kit.seal import PLAIN, Seal

KEY = SealingKey(id="2026-11", secret=b"k" * 32)
DAY = date(2026, 11, 21)
ROUNDS = 7


def cpu(work: Callable[[], object], count: int) -> float:
    """Microseconds of CPU for each of `count`, of the best of some rounds."""
    best = float("inf")
    for _ in range(ROUNDS):
        began = time.process_time()
        work()
        best = min(best, time.process_time() - began)
    return best / count * 1e6


def one_way(seal: Seal, records: Sequence[Record]) -> dict[str, float]:
    """What each step takes under `seal`."""
    calls = len(records)
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="lw-bench-") as folder:
        spool = Spool(Path(folder), 10**11, seal)

        def write() -> None:
            for record in records:
                spool.write(record)

        found["spool write, worker (µs a call)"] = cpu(write, calls)
        spool.close()

    buffer, size = bytearray(), 0

    def frame() -> None:
        for record in records:
            encode_into(record, buffer, seal or None, b"spool " + b"0" * 32)

    found["  of it framing (µs a call)"] = cpu(frame, calls)
    for record in records:
        encode_into(record, buffer, seal or None, b"spool " + b"0" * 32)
        size += len(buffer)
    payloads = [Payload(record.request, record.answer) for record in records]
    blocks = [payloads[start : start + BLOCK_CALLS] for start in range(0, calls, BLOCK_CALLS)]
    packer, place = Packer(seal), about(DAY, 10_000)
    found["pack texts, recorder (µs a call)"] = cpu(lambda: [packer.pack(block, place) for block in blocks], calls)
    packed = [packer.pack(block, place) for block in blocks]
    found["read a block of texts (µs a block)"] = cpu(
        lambda: [packer.unpack(body, place) for body in packed], len(blocks)
    )
    words = set().union(*(all_words_of(payload) for payload in payloads))
    secret = None if seal.first is None else seal.blind(seal.first)
    found["hash a word not seen before (µs)"] = cpu(lambda: [hash_of(word, secret) for word in words], len(words))
    found["spool (bytes a call)"] = size / calls
    found["texts (bytes a call)"] = sum(map(len, packed)) / calls
    return found


def measure(console: Console, calls: int) -> None:
    """Both ways, side by side."""
    records = list(Traffic(Writer(None), calls, until=datetime.now(UTC), days=1).records(0, calls))
    off, on = one_way(PLAIN, records), one_way(Seal([KEY]), records)
    table = Table("what", "off", "on", "more", title=f"{calls:,} calls")
    for name, value in off.items():
        table.add_row(name, f"{value:,.2f}", f"{on[name]:,.2f}", f"{on[name] - value:+,.2f}")
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=10_000)
    measure(Console(), parser.parse_args().calls)


if __name__ == "__main__":
    main()
