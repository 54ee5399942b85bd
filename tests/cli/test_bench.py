"""`loopwright bench` from outside, and what it refuses."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.stand_in import SECRET, House

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def test_a_closed_loop_against_the_running_house(run: Run, house: House) -> None:
    done = run("bench", "-c", "4", "-n", "12", "--slo", "latency=60s", house=house)
    assert done.returncode == 0, done.stderr
    for word in ("12 of 12", "requests/s", "TTFT", "TPOT", "inter-token", "end to end", "p99", "100.0% of all"):
        assert word in done.stdout
    assert "how many answers" in done.stdout  # the plot
    assert "\x1b" not in done.stdout


def test_an_open_loop_as_json(run: Run, house: House) -> None:
    arguments = ("--rate", "50", "-n", "10", "--warmup", "0", "--no-stream", "--json")
    told = json.loads(run("bench", *arguments, house=house).stdout)
    assert (told["answered"], told["errors"], told["model"]) == (10, {}, "small")
    assert told["ttft"] is None
    assert told["latency"]["p99"] >= told["latency"]["p50"] > 0


def test_prompts_have_the_tokens_that_were_asked_for(run: Run, house: House) -> None:
    """The stand-in counts a token a word and ten of overhead: the warm-up finds that out."""
    told = json.loads(run("bench", "-n", "3", "--prompt-tokens", "120", "--json", house=house).stdout)
    assert told["mean_prompt_tokens"] == pytest.approx(120, abs=4)


def test_lengths_from_a_trace(run: Run, house: House, tmp_path: Path) -> None:
    (tmp_path / "trace.csv").write_text("TIMESTAMP,ContextTokens,GeneratedTokens\nx,50,7\ny,60,8\n")
    done = run("bench", "--lengths", "trace.csv", "-n", "4", "--warmup", "0", "--json", house=house)
    assert done.returncode == 0, done.stderr
    assert [body["max_tokens"] for method, _, body in house.asked if method == "POST"] == [7, 8, 7, 8]


def test_errors_are_counted_by_class_and_all_failed_is_1(run: Run, house: House) -> None:
    house.fault = "refuse"
    done = run("bench", "-n", "3", "--warmup", "1", house=house)
    assert done.returncode == 1
    assert "429 rate_limit_exceeded" in done.stdout
    assert "warm-up failed" in done.stderr


def test_our_key_goes_to_no_other_endpoint(run: Run, house: House) -> None:
    env = {"LOOPWRIGHT_API_KEY": SECRET}
    done = run("bench", "--url", f"{house.url}/v1", "--model", "small", "-n", "1", "--warmup", "0", env=env)
    assert done.returncode == 1  # the endpoint refused, for it got no key
    assert "invalid_api_key" in done.stdout
    done = run("bench", "--url", house.url, "--key", SECRET, "-n", "1", "--warmup", "0")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "wrong",
    [
        ["--slo", "ttft=fast"],
        ["--slo", "ttft=1s", "--no-stream"],
        ["--prompt-tokens", "normal:1:2"],
        ["--output-tokens", "0"],
        ["--lengths", "no-such.csv"],
        ["--body", "[1]"],
        ["--duration", "soon"],
        ["--url", "somewhere"],
        ["--concurrency", "0"],
    ],
)
def test_wrong_usage(run: Run, wrong: list[str]) -> None:
    done = run("bench", *wrong)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr


def test_nobody_there(run: Run) -> None:
    done = run("bench", "--url", "http://127.0.0.1:1/v1", "--model", "m", "-n", "2", "--warmup", "0")
    assert done.returncode == 1
    assert "unavailable" in done.stdout
