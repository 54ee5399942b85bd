"""Lengths of a load: fixed, drawn, and from traces, real ones too."""

from __future__ import annotations

import os
from itertools import islice
from pathlib import Path
from random import Random
from statistics import mean, stdev

import pytest

from loopwright.core.errors import BadRequest
from loopwright.kit.lengths import Length, draw_of, drawn, prompt_text, replayed, trace_of


def test_draws() -> None:
    random = Random(1)
    assert {draw_of("200")(random) for _ in range(5)} == {200}
    uniform = [draw_of("uniform:10:12")(random) for _ in range(200)]
    assert set(uniform) == {10, 11, 12}
    draw = draw_of("lognormal:200:50")
    found = [draw(random) for _ in range(20_000)]
    # Mean and standard deviation are those of the lengths themselves, not of their logarithm.
    assert mean(found) == pytest.approx(200, rel=0.02)
    assert stdev(found) == pytest.approx(50, rel=0.05)


@pytest.mark.parametrize(
    "wrong",
    ["", "0", "-3", "many", "1.5", "uniform:5:3", "uniform:5", "lognormal:0:1", "lognormal:nan:1", "normal:3:1"],
)
def test_what_is_no_length_is_refused(wrong: str) -> None:
    with pytest.raises(BadRequest, match="is no length"):
        draw_of(wrong)


def test_drawn_is_repeatable() -> None:
    def ten(seed: int) -> list[Length]:
        return list(islice(drawn(draw_of("uniform:1:999"), draw_of("lognormal:50:20"), Random(seed)), 10))

    assert ten(1) == ten(1) != ten(2)


def test_a_trace_is_read_by_the_names_of_its_columns(tmp_path: Path) -> None:
    file = tmp_path / "trace.csv"
    file.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\nx,374,44\n\ny,0,0\n")
    trace = trace_of(file)
    assert trace == (Length(prompt=374, output=44), Length(prompt=1, output=1))
    assert list(islice(replayed(trace), 3)) == [*trace, trace[0]]
    file.write_text("\ufeffoutput_tokens,prompt_tokens\n5,6\n", encoding="utf-8")
    assert trace_of(file) == (Length(prompt=6, output=5),)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,b\n1,2\n", "no column for prompttokens"),
        ("ContextTokens,GeneratedTokens\n", "no rows"),
        ("ContextTokens,GeneratedTokens\n1,2\n3\n", r":3: not two numbers"),
        ("ContextTokens,GeneratedTokens\n1,-2\n", r":2: a number of tokens"),
    ],
)
def test_a_wrong_trace_is_refused_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "trace.csv"
    file.write_text(text)
    with pytest.raises(BadRequest, match=said):
        trace_of(file)


def test_no_trace(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="No such file"):
        trace_of(tmp_path / "none.csv")


def test_a_real_trace() -> None:
    folder = Path(os.environ.get("LOOPWRIGHT_TEST_DATA", "../shared/data")) / "azure_llm_trace_2023"
    file = folder / "AzureLLMInferenceTrace_conv.csv"
    if not file.exists():
        pytest.skip(f"the Azure LLM inference trace of 2023 is not at {file}")
    trace = trace_of(file)
    assert len(trace) > 19_000
    assert trace[0] == Length(prompt=374, output=44)


def test_prompts_have_so_many_words_and_differ() -> None:
    random = Random(3)
    first, second = prompt_text(50, random), prompt_text(50, random)
    assert len(first.split()) == 50
    assert first != second
    assert prompt_text(-5, random)
