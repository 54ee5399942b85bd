"""`loopwright calls` from outside."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.stand_in import House, call

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def _many(house: House, count: int) -> None:
    house.calls = [call(number) for number in range(count, 0, -1)]


def test_list_shows_cost_and_unpriced(run: Run, house: House) -> None:
    house.calls = [call(2, cost_usd=None, outcome="error", error_code="upstream_broke"), call(1)]
    shown = run("calls", "list", house=house).stdout
    assert "unpriced" in shown
    assert "0.000123" in shown
    assert "upstream_broke" in shown
    assert "1,234" in shown
    assert "\x1b" not in shown


def test_filters_become_the_query(run: Run, house: House) -> None:
    done = run(
        "calls", "list", "--model", "small", "--key", "3", "--outcome", "error", "--tag", "team:a b", "--text", "rare word",
        "--since", "2026-11-21T10:00+01:00", "--min-latency-ms", "250", "--limit", "5", house=house,
    )  # fmt: skip
    assert done.returncode == 0
    query = house.asked[-1][1]
    for part in ("model=small", "key=3", "outcome=error", "tag=team%3Aa+b", "text=rare+word", "limit=5"):
        assert part in query
    assert "since=2026-11-21T09%3A00%3A00.000Z" in query
    assert "min_latency_ms=250" in query
    assert "until" not in query


@pytest.mark.parametrize(
    "wrong",
    [["--outcome", "bad"], ["--tag", "team"], ["--since", "yesterday"], ["--limit", "0"]],
)
def test_a_wrong_filter_is_wrong_usage(run: Run, house: House, wrong: list[str]) -> None:
    done = run("calls", "list", *wrong, house=house)
    assert done.returncode == 2
    assert house.asked == []


def test_an_empty_list_says_so_beside_stdout(run: Run, house: House) -> None:
    done = run("calls", "list", house=house)
    assert (done.returncode, done.stdout) == (0, "")
    assert "No calls match" in done.stderr


def test_list_names_the_next_page(run: Run, house: House) -> None:
    _many(house, 3)
    assert f"--before {house.calls[1]['id']}" in run("calls", "list", "-n", "2", house=house).stderr
    page = json.loads(run("calls", "list", "-n", "2", "--json", house=house).stdout)
    assert page["next"] == house.calls[1]["id"]


def test_show_prints_the_conversation_without_its_control_characters(run: Run, house: House) -> None:
    house.calls = [call(1)]
    shown = run("calls", "show", "last", house=house).stdout
    assert "Who?" in shown
    assert "It was \N{REPLACEMENT CHARACTER}[31mme." in shown
    assert '"temperature": 0' in shown
    assert "failed 1 refused: it says so (code monitor)" in shown
    assert "\x1b" not in shown


def test_show_tells_where_the_bytes_went(run: Run, house: House) -> None:
    left = {
        "provider": "frankfurt", "model": "m", "region": "eu", "own": False, "bytes": 1234, "bodies": 1,
        "sha256": "ab" * 32, "answered": True, "redacted": {"email": 2},
    }  # fmt: skip
    house.calls = [call(1, sent=[left])]
    shown = run("calls", "show", "last", house=house, env={"COLUMNS": "200"}).stdout
    assert all(word in shown for word in ("where it went", "frankfurt", "1,234", "2 email", "ab" * 32))
    house.calls = [call(1, sent=[])]
    assert "nowhere" in run("calls", "show", "last", house=house).stdout


def test_list_asks_where_bytes_went(run: Run, house: House) -> None:
    house.calls = [call(1)]
    assert run("calls", "list", "--sent-outside", "eu,own", "--sent-to", "us", house=house).returncode == 0


def test_show_of_no_such_call(run: Run, house: House) -> None:
    assert run("calls", "show", "no-such", house=house).returncode == 1
    assert "no call is on record yet" in run("calls", "show", "last", house=house).stderr


def test_export_writes_every_call(run: Run, house: House, tmp_path: Path) -> None:
    _many(house, 450)
    done = run("calls", "export", "--no-texts", "-o", "all.jsonl", house=house)
    assert done.returncode == 0, done.stderr
    lines = (tmp_path / "all.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == [one["id"] for one in house.calls]
    assert (tmp_path / "all.jsonl").stat().st_mode & 0o777 == 0o600
    assert not (tmp_path / "all.jsonl.part").exists()


def test_export_to_stdout_holds_the_texts_and_nothing_else(run: Run, house: House) -> None:
    _many(house, 3)
    done = run("calls", "export", "--limit", "2", house=house)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["call"]["id"] for line in lines] == [house.calls[0]["id"], house.calls[1]["id"]]
    assert lines[0]["request"]["messages"][0]["content"] == "Who?"


def test_an_export_that_fails_leaves_the_old_file(run: Run, tmp_path: Path) -> None:
    (tmp_path / "all.jsonl").write_text("old\n")
    assert run("calls", "export", "-o", "all.jsonl").returncode == 1
    assert (tmp_path / "all.jsonl").read_text() == "old\n"
    assert not (tmp_path / "all.jsonl.part").exists()


def test_an_export_that_breaks_off_says_so_and_leaves_the_old_file(run: Run, house: House, tmp_path: Path) -> None:
    _many(house, 3)
    house.fault = "cut"
    (tmp_path / "all.jsonl").write_text("old\n")
    done = run("calls", "export", "-o", "all.jsonl", house=house)
    assert done.returncode == 1
    assert "not the whole file" in done.stderr
    assert (tmp_path / "all.jsonl").read_text() == "old\n"
    assert not (tmp_path / "all.jsonl.part").exists()


def test_export_asks_for_the_format_and_every_filter(run: Run, house: House) -> None:
    _many(house, 1)
    done = run(
        "calls", "export", "-f", "otlp", "--no-texts", "--variant", "v", "--without", "session", "--trace", "a" * 32,
        "--client", "cron", "-o", "c.otlp.jsonl", house=house,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    query = house.asked[-1][1]
    for part in ("format=otlp", "texts=false", "variant=v", "without=session", "client=cron", f"trace={'a' * 32}"):
        assert part in query


def test_delete_asks_unless_told_not_to(run: Run, house: House) -> None:
    done = run("calls", "delete", "--session", "s1", house=house)
    assert done.returncode == 2
    assert "--yes" in done.stderr
    assert house.asked == []
    done = run("calls", "delete", "--session", "s1", "--yes", "--json", house=house)
    assert json.loads(done.stdout) == {"deleted": 3}
    assert house.paths() == ["DELETE /api/calls?session=s1"]


def test_delete_by_ids(run: Run, house: House) -> None:
    done = run("calls", "delete", "a/../b", "c", "--yes", house=house)
    assert "Deleted 2 calls" in done.stderr
    assert house.paths() == ["DELETE /api/calls/a%2F..%2Fb", "DELETE /api/calls/c"]


def test_delete_wants_exactly_one_thing(run: Run, house: House) -> None:
    assert run("calls", "delete", "--yes", house=house).returncode == 2
    assert run("calls", "delete", "--yes", "--session", "a", "--tag", "b:c", house=house).returncode == 2
