"""Fields of invoices by a task with memory, measured field by field: `python examples/invoices/extract.py FOLDER`.

FOLDER holds PDFs, and beside each the truth as `NAME.json` in the form of invoice2data's tests. What is asked:
  real, plain    every invoice, without memory; each answer is corrected afterwards
  real, others   every invoice, shown the corrections of *other* invoices, however unlike (leave one out, variant `eager`)
  next, plain    an invoice like it of the next year (made here: other number, dates, amounts), without memory
  next, memory   the same with all corrections in memory, so also that of the same vendor's earlier invoice
Beside them stand a few regular expressions, which need no model. Nothing of the answers is thrown away: --out keeps them.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loopwright import Client
from loopwright.core.errors import InvalidOutput, UpstreamError
from loopwright.documents.limits import Limits
from loopwright.documents.reading import read

Fields = dict[str, Any]
SIMPLE = ("vendor", "invoice_number", "date", "due_date", "currency", "untaxed", "total")
TASK = "invoice"
_LEGAL = {"inc", "bv", "b", "v", "ltd", "llc", "gmbh", "sarl", "sa", "ag", "co", "corp", "limited", "pvt"}
_MONTHS = {
    name: number
    for number, names in enumerate(
        (
            "january januari janvier januar", "february februari fevrier februar", "march maart mars marz",
            "april avril", "may mei mai", "june juni juin", "july juli juillet", "august augustus aout",
            "september septembre", "october oktober octobre", "november novembre", "december decembre dezember",
        ),
        start=1,
    )
    for name in names.split()
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Invoice:
    """An invoice, and what is true of it as far as it is known."""

    name: str
    text: str
    truth: Fields
    """A field that is not known is not there."""

    def corrected(self) -> Fields:
        """What the answer should have been, whole."""
        return {**dict.fromkeys(SIMPLE), "lines": [], **self.truth}


# ---- truth ----


def truth_of(told: Mapping[str, Any]) -> Fields:
    """The fields of an entry of invoice2data's tests, by our names."""
    named = {
        "vendor": "issuer", "invoice_number": "invoice_number", "date": "date", "due_date": "date_due",
        "currency": "currency", "untaxed": "amount_untaxed", "total": "amount",
    }  # fmt: skip
    found: Fields = {ours: told[theirs] for ours, theirs in named.items() if told.get(theirs) is not None}
    lines = [
        {
            "name": " ".join(str(each["name"]).split()),
            "amount": float(each.get("price_subtotal", each.get("price_unit", 0))),
        }
        for each in told.get("lines", ())
        if "name" in each
    ]
    return {**found, **({"lines": lines} if lines else {})}


def invoices_of(folder: Path) -> list[Invoice]:
    """Every PDF of a folder that has its truth beside it."""
    found = []
    for path in sorted(folder.glob("*.pdf")):
        beside = path.with_suffix(".json")
        if beside.exists():
            [told, *_] = json.loads(beside.read_text(encoding="utf-8"))
            text = read(path.read_bytes(), path.name, limits=Limits()).text.strip()
            found.append(Invoice(name=path.stem, text=text, truth=truth_of(told)))
    return found


def next_of(invoice: Invoice) -> Invoice:
    """The same vendor's invoice of a year later: another number, other dates, other amounts, the rest to the letter."""
    year = str(invoice.truth["date"])[:4]
    later = str(int(year) + 1)
    swaps: dict[str, str] = {}
    truth: Fields = json.loads(json.dumps(invoice.truth))

    def raised(amount: float) -> float:
        new = round(amount * 1.37, 2) if amount != int(amount) or amount < 1_000 else float(int(amount * 1.37))
        for form in (f"{amount:.2f}", f"{amount:.2f}".replace(".", ",")):
            swaps[form] = f"{new:.2f}".replace(".", form[-3])
        if amount == int(amount) and amount >= 1_000:
            swaps[str(int(amount))] = str(int(new))
        return new

    for name in ("total", "untaxed"):
        if name in truth:
            truth[name] = raised(truth[name])
    for line in truth.get("lines", ()):
        line["amount"] = raised(line["amount"])
    number = str(truth["invoice_number"])
    truth["invoice_number"] = number[:-2].replace(year, later) + f"{(int(number[-2:]) + 37) % 100:02d}"
    pattern = "|".join(re.escape(each) for each in sorted(swaps, key=len, reverse=True))
    text = invoice.text.replace(number, "\x00")
    text = re.sub(rf"(?<![\d.,])(?:{pattern})(?!\d)", lambda found: swaps[found[0]], text)
    text = text.replace(year, later).replace("\x00", str(truth["invoice_number"]))
    for name in ("date", "due_date"):
        if name in truth:
            truth[name] = truth[name].replace(year, later)
    return Invoice(name=f"{invoice.name}-next", text=text, truth=truth)


# ---- marking ----


def right(field: str, said: Any, true: Any) -> bool:
    """Whether one field is what it should be."""
    if said is None:
        return False
    if field in ("untaxed", "total"):
        return isinstance(said, int | float) and abs(said - true) < 0.005
    if field == "vendor":
        return _words(said) == _words(true)
    return str(said).strip().casefold() == str(true).strip().casefold()


def lines_right(said: Sequence[Mapping[str, Any]], true: Sequence[Mapping[str, Any]]) -> tuple[int, int, int]:
    """How many lines are right (name and amount), how many were said, how many there are."""
    left = [(_words(each["name"]), round(each["amount"], 2)) for each in true]
    hits = 0
    for each in said:
        key = (_words(each.get("name", "")), round(float(each.get("amount", 0)), 2))
        if key in left:
            left.remove(key)
            hits += 1
    return hits, len(said), len(true)


def _words(text: Any) -> tuple[str, ...]:
    return tuple(word for word in re.findall(r"\w+", str(text).casefold()) if word not in _LEGAL)


def marked(pairs: Iterable[tuple[Fields, Fields]]) -> dict[str, tuple[int, int]]:
    """By field how many are right of how many whose truth is known; of lines twice the hits, of all said and true (F1)."""
    tally: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for said, true in pairs:
        for field in SIMPLE:
            if field in true:
                tally[field][0] += right(field, said.get(field), true[field])
                tally[field][1] += 1
        if "lines" in true:
            hits, given, wanted = lines_right(said.get("lines") or [], true["lines"])
            tally["lines (F1)"][0] += 2 * hits
            tally["lines (F1)"][1] += given + wanted
    return {field: (counts[0], counts[1]) for field, counts in tally.items()}


# ---- without a model ----


def by_rules(text: str) -> Fields:
    """What a few regular expressions find, written with the shipped five invoices in view, so rather flattered."""
    number = re.search(
        r"(?i)\b(?:invoice|facture|factuur|rechnung)(?:s?nummer|\s+number|\s*n[°o.]|\s*#|)\s*:?\s*([A-Z]*[\d][\w/-]{3,}|INV[\w/-]+)",
        text,
    )
    dated = re.search(r"(?i)(?:invoice date|factuurdatum|\bdate)\s*:?\s*([^\n]{6,24})", text)
    due = re.search(r"(?i)due date\s*:?\s*([^\n]{6,24})", text)
    totals = re.findall(r"(?im)^.*\b(?:total|totaal|ttc|amount due)\b[^\d\n]*?([\d.,]*\d)\s*€?\s*$", text)
    amounts = [_amount(each) for each in totals]
    signs = {"€": "EUR", "$": "USD", "£": "GBP", "Rs": "INR"}
    currency = next((code for sign, code in signs.items() if re.search(re.escape(sign), text)), None)
    vendor = re.search(r"(?m)^(.{2,40}?(?:,? Inc\.?| B\.V\.| Ltd\.?| GmbH| LLC))", text)
    return {
        "vendor": vendor and vendor[1],
        "invoice_number": number and number[1],
        "date": dated and _date(dated[1]),
        "due_date": due and _date(due[1]),
        "currency": currency,
        "untaxed": None,
        "total": max(amounts, default=None),
        "lines": [],
    }


def _amount(text: str) -> float:
    whole, _, cents = text.replace(",", ".").rpartition(".")
    return float(f"{whole.replace('.', '')}.{cents}") if whole else float(cents)


def _date(text: str) -> str | None:
    numbers = re.search(r"(\d{1,2})[/.-](\d{1,2})[/.-](\d{4})", text)
    if numbers:
        day, month, year = (int(each) for each in numbers.groups())
        if month > 12:
            day, month = month, day
        return f"{year}-{month:02d}-{day:02d}"
    words = re.search(r"(?:(\d{1,2})\s+)?([^\W\d]+)\s+(?:(\d{1,2})\s*,\s*)?(\d{4})", text)
    month = _MONTHS.get(words[2].casefold(), 0) if words else 0
    return f"{words[4]}-{month:02d}-{int(words[1] or words[3] or 1):02d}" if words and month else None


# ---- asking ----


class House:
    """Asks a running Loopwright."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.entries: dict[str, str] = {}
        """Of memory, by the name of the invoice they are of."""

    def ask(self, invoice: Invoice, variant: str) -> tuple[Fields, str]:
        """What the task answers, and the id of the call."""
        body = {
            "model": f"task/{TASK}@{variant}",
            "messages": [],
            "loopwright": {"variables": {"invoice": invoice.text}, "tags": {"example": "invoices"}},
        }
        response = self.client.open("POST", "/v1/chat/completions", body=body)
        call_id = response.headers["x-loopwright-call-id"]
        told = json.loads(response.read())
        return json.loads(told["choices"][0]["message"]["content"]), call_id

    def correct(self, invoice: Invoice, call_id: str) -> None:
        """Say what the answer should have been; of a call that had none, tell memory itself."""
        if call_id:
            made = self.client.correct(call_id, invoice.corrected(), note="examples/invoices")
            self.entries[invoice.name] = made["memory"]["entry"]
            return
        self.client.import_memory(TASK, [{"input": {"invoice": invoice.text}, "output": invoice.corrected()}])
        self.entries[invoice.name] = self.client.memory(task=TASK, limit=1)["entries"][0]["id"]

    def without(self, name: str, act: Callable[[], Fields]) -> Fields:
        """Do something while the correction of one invoice is disabled."""
        self.client.change_memory(self.entries[name], disabled=True)
        try:
            time.sleep(1.0)  # a change reaches every process within a second
            return act()
        finally:
            self.client.change_memory(self.entries[name], disabled=False)


def measure(house: House, invoices: Sequence[Invoice], said: Callable[[str], None]) -> dict[str, dict[str, Fields]]:
    """Every answer, by column and invoice."""
    later = [next_of(each) for each in invoices]
    found: dict[str, dict[str, Fields]] = {
        "real, rules": {each.name: by_rules(each.text) for each in invoices},
        "real, plain": {},
        "real, others": {},
        "next, rules": {each.name: by_rules(each.text) for each in later},
        "next, plain": {},
        "next, memory": {},
    }

    def asked(column: str, invoice: Invoice, variant: str) -> str:
        began = time.monotonic()
        try:
            found[column][invoice.name], call_id = house.ask(invoice, variant)
        except (InvalidOutput, UpstreamError) as error:  # an answer that is no JSON by the schema has no field right
            found[column][invoice.name], call_id = {}, ""
            said(f"{column}: {invoice.name}: {error.message}")
        said(f"{column}: {invoice.name}, {time.monotonic() - began:.1f} s")
        return call_id

    for each in invoices:
        house.correct(each, asked("real, plain", each, "plain"))
    for each in later:
        asked("next, plain", each, "plain")
    for each in invoices:
        house.without(each.name, lambda each=each: {"call": asked("real, others", each, "eager")})  # type: ignore[misc]
    time.sleep(1.0)
    for each in later:
        asked("next, memory", each, "base")
    return found


def table(invoices: Sequence[Invoice], found: Mapping[str, Mapping[str, Fields]]) -> str:
    """Right answers of those that could be, field by field, as Markdown."""
    truths = {each.name: each.truth for each in [*invoices, *(next_of(one) for one in invoices)]}
    columns = {column: marked((said, truths[name]) for name, said in told.items()) for column, told in found.items()}
    lines = ["| field | " + " | ".join(columns) + " |", "|---|" + "---|" * len(columns)]
    for field in (*SIMPLE, "lines (F1)"):
        cells = []
        for told in columns.values():
            hits, of = told.get(field, (0, 0))
            cells.append("" if not of else f"{hits / of:.2f}" if field.startswith("lines") else f"{hits} of {of}")
        lines.append(f"| {field} | " + " | ".join(cells) + " |")
    sums = [[sum(told[field][at] for field in SIMPLE if field in told) for at in (0, 1)] for told in columns.values()]
    lines.append("| **fields** | " + " | ".join(f"**{hits / of:.0%}** ({hits} of {of})" for hits, of in sums) + " |")
    return "\n".join(lines)


def main() -> None:
    """Measure a folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--url", help="where Loopwright listens; else LOOPWRIGHT_URL, else http://127.0.0.1:4100")
    parser.add_argument("--api-key", help="else LOOPWRIGHT_API_KEY, else .loopwright/admin.key")
    parser.add_argument("--only", type=int, help="the first so many invoices")
    parser.add_argument("--out", type=Path, help="keep every answer here, as JSON")
    given = parser.parse_args()
    invoices = invoices_of(given.folder)[: given.only]
    if not invoices:
        sys.exit(f"{given.folder} holds no PDF with a JSON beside it")
    with Client(given.url, given.api_key, timeout=600.0) as client:
        found = measure(House(client), invoices, lambda text: print(text, file=sys.stderr))
    if given.out is not None:
        given.out.write_text(json.dumps(found, indent=2, ensure_ascii=False), encoding="utf-8")
    print(table(invoices, found))


if __name__ == "__main__":
    main()
