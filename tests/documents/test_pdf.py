"""PDFs say what can be seen on their pages, with its headings; what cannot be read is refused with the reason."""

import json
import os
from pathlib import Path

import pytest

from tests.documents.asking import parse, refused
from tests.documents.files import filled, pdf

INVOICES = Path(os.environ.get("LOOPWRIGHT_TEST_DATA", "../shared/data")) / "invoices"


def test_a_pdf_knows_its_pages_and_what_it_says_of_itself() -> None:
    info = {"Title": "The contract", "Author": "Me", "CreationDate": "D:20240102030405Z"}
    parsed = parse(pdf(["First page\nsecond line", "Second page"], info=info), "x.pdf")
    assert parsed.text == "First page\nsecond line\n\nSecond page\n\n"
    assert [(page.number, page.start) for page in parsed.pages] == [(1, 0), (2, 24)]
    assert parsed.title == "The contract"
    assert parsed.metadata == {"author": "Me", "created": "2024-01-02T03:04:05"}
    assert not parsed.warnings


def test_a_pdf_that_is_locked_is_refused_and_one_with_its_key_in_the_lock_is_read() -> None:
    assert refused(pdf(["Secret"], password="1234")) == "is locked with a password: save it without one"
    assert parse(pdf(["Secret"], password="")).text.strip() == "Secret"


def test_a_scanned_pdf_is_refused_and_scanned_pages_are_told() -> None:
    assert refused(pdf(["", "", ""])) == "has no text in its 3 pages: scanned? run OCR first"
    assert parse(pdf(["One", "", "Two", ""])).warnings == ["no text on pages 2, 4: scanned? run OCR first"]


def test_a_pdf_of_a_thousand_pages() -> None:
    data = pdf([f"Page {number} says {number * 7}" for number in range(1, 1001)])
    parsed = parse(data)
    assert len(parsed.pages) == 1000
    assert parsed.text[parsed.pages[499].start :].startswith("Page 500 says 3500")
    assert refused(data, pages=999) == "has 1,000 pages, the limit is 999: split it"
    assert "the limit: split it" in refused(data, characters=500)


def written(x: int, text: str, *, size: float = 12, look: str = "0 g") -> str:
    return f"BT {look} /F {size} Tf 40 {x} Td ({text}) Tj ET\n"


def test_text_of_a_pdf_that_nobody_can_see_is_left_out_and_told() -> None:
    hidden = (
        written(600, "invisible", look="3 Tr 0 g")
        + written(580, "white", look="0 Tr 1 g")
        + written(560, "tiny", size=0.4)
    )
    dark = "0 g 0 300 600 100 re f\n" + written(350, "on dark ground", look="1 g") + "1 g 0 100 600 100 re f\n"
    parsed = parse(pdf([written(700, "Seen") + hidden + dark + written(150, "white on white", look="1 g"), "Second"]))
    assert parsed.text == "Seen\non dark ground\n\nSecond\n\n"
    assert parsed.warnings == ["30 characters that cannot be seen were left out on page 1"]


def test_lines_of_a_pdf_that_are_written_larger_are_headings() -> None:
    body = "".join(written(600 - 14 * row, f"Row {row} says this and that.", size=10) for row in range(9))
    pages = [
        written(750, "The guide", size=24) + written(700, "First part", size=16) + body,
        written(750, "Second part", size=16) + body,
    ]
    parsed = parse(pdf([*pages, written(600, "# no heading", size=10)]))
    assert [line for line in parsed.text.split("\n") if line.startswith("#")] == [
        "# The guide",
        "## First part",
        "## Second part",
    ]
    assert "\\# no heading" in parsed.text
    assert parsed.title == "The guide"
    assert parsed.text[parsed.pages[1].start :].startswith("## Second part\n\nRow 0")


def test_heads_and_feet_that_run_along_are_said_once() -> None:
    rows = "\n".join(f"Row {row} of page NUMBER." for row in range(4))
    pages = [
        f"The guide\n{rows.replace('NUMBER', str(number))}\nAnd page {number} alone.\nACME Ltd., Oslo\n{number} / 6"
        for number in range(1, 7)
    ]
    parsed = parse(pdf(pages))
    assert parsed.text.count("The guide") == parsed.text.count("ACME Ltd., Oslo") == 1
    assert " / 6" not in parsed.text
    assert all(f"And page {number} alone." in parsed.text for number in range(1, 7))
    assert parsed.text.count("Row 0") == parsed.text.count("Row 3") == 6
    assert parsed.warnings == [
        "16 lines that run along the pages (heads, feet, numbers) were left out but for the first time"
    ]
    bills = parse(
        pdf([f"Bill {number}\nFor you\nOne\nTwo\nThree\nTotal {number}\n{number * 100}" for number in range(1, 7)])
    )
    assert [line for line in bills.text.split("\n") if line[:1] in "BT" and line[-1:].isdigit()] == [
        line for number in range(1, 7) for line in (f"Bill {number}", f"Total {number}")
    ]
    assert [line for line in bills.text.split("\n") if line.endswith("00")] == [f"{number}00" for number in range(1, 7)]
    assert parse(pdf(["One", "One", "One", "One"])).text.count("One") == 4


def test_what_is_filled_into_a_form_is_text() -> None:
    assert parse(filled("Vendor:", "ACME Limited")).text.split("\n")[:2] == ["Vendor:", "ACME Limited"]


@pytest.mark.parametrize("data", [b"%PDF-1.7\n", pdf(["One"])[:200], pdf([]), b"%PDF-" + bytes(range(256)) * 9])
def test_a_broken_pdf(data: bytes) -> None:
    assert refused(data) == "is a broken PDF: save it anew from what it was made with"


@pytest.mark.parametrize("name", ["AmazonWebServices", "AzureInterior", "NetpresseInvoice", "coolblue1", "oyo"])
def test_amounts_of_real_invoices_are_in_their_text(name: str) -> None:
    if not INVOICES.is_dir():
        pytest.skip(f"needs {INVOICES}: set LOOPWRIGHT_TEST_DATA")
    text = parse((INVOICES / f"{name}.pdf").read_bytes(), f"{name}.pdf").text
    [expected] = json.loads((INVOICES / f"{name}.json").read_text(encoding="utf-8"))
    whole, _, cents = f"{expected['amount']:.2f}".partition(".")
    assert any(form in text.replace(" ", "") for form in (f"{whole}.{cents}", f"{whole},{cents}", f"Rs{whole}"))
    assert str(expected["invoice_number"]) in text
