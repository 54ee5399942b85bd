"""Tables that fit, texts without control characters, times and sizes for people."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from loopwright.cli.quantities import bytes_text, local_text, moment_of, seconds_of, seconds_text
from loopwright.cli.screen import Column, _fitting, clean, clip, complain, show_table
from loopwright.core.errors import BadRequest, NotFound


def test_columns_leave_by_weight_where_the_terminal_is_narrow() -> None:
    columns = [Column(title="a"), Column(title="b", weight=2), Column(title="c", weight=1), Column(title="d", weight=2)]
    needs = [10, 10, 10, 10]
    assert _fitting(columns, needs, 100) == [0, 1, 2, 3]
    assert _fitting(columns, needs, 49) == [0, 1, 2, 3]
    assert _fitting(columns, needs, 48) == [0, 1, 2]
    assert _fitting(columns, needs, 24) == [0, 2]
    assert _fitting(columns, needs, 5) == [0]


def test_a_pipe_gets_whole_lines(capsys: pytest.CaptureFixture[str]) -> None:
    long = "x" * 500
    show_table([Column(title="name", least=5)], [[long]], empty="")
    shown = capsys.readouterr().out.splitlines()
    assert shown[-1] == long
    assert shown[0] == "name"


def test_texts_cannot_drive_the_terminal() -> None:
    assert clean("a\x1b[2Jb\r\n\tc\u202ed\x9bz") == "a\ufffd[2Jb\n\tc\ufffdd\ufffdz"
    assert clip("one\n two   three", 9) == "one two …"


def test_a_complaint_says_what_and_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    complain(NotFound("no such thing\nMake one"))
    assert capsys.readouterr().err == "error: no such thing\n  → Make one\n"


def test_markup_in_texts_is_text(capsys: pytest.CaptureFixture[str]) -> None:
    show_table([Column(title="[red]t")], [["[bold]x[/]"]], empty="")
    complain(NotFound("[red]what"))
    shown = capsys.readouterr()
    assert "[bold]x[/]" in shown.out
    assert "[red]what" in shown.err


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("90", 90.0), ("1.5m", 90.0), ("2h", 7200.0), ("7d", 604_800.0), (" 3 S ", 3.0)],
)
def test_durations(text: str, seconds: float) -> None:
    assert seconds_of(text, "x") == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "soon", "-1s", "1y", "1h30"])
def test_no_durations(text: str) -> None:
    with pytest.raises(BadRequest, match="is not a duration"):
        seconds_of(text, "x")


def test_moments() -> None:
    now = datetime(2026, 11, 21, 12, tzinfo=UTC)
    assert moment_of("2h", "x", now) == "2026-11-21T10:00:00.000Z"
    assert moment_of("2026-11-21T09:00+01:00", "x") == "2026-11-21T08:00:00.000Z"
    assert moment_of(None, "x") is None
    with pytest.raises(BadRequest, match="is no time"):
        moment_of("yesterday", "x")


def test_sizes_and_times_for_people() -> None:
    assert [bytes_text(size) for size in (0, 999, 1500, 98_400_000, 250_000_000, 3e15)] == [
        "0 B", "999 B", "1.5 kB", "98.4 MB", "250 MB", "3000 TB",
    ]  # fmt: skip
    assert [seconds_text(time) for time in (None, 0.00085, 0.0123, 0.99999, 1.239, 200.0, 8000.0, 3e5)] == [
        "-", "850 µs", "12.3 ms", "1.00 s", "1.24 s", "3 min 20 s", "2 h 13 min", "3.5 days",
    ]  # fmt: skip
    assert local_text("never") == "never"
