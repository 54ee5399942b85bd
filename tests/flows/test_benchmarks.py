"""Benchmarks in a real house: a file someone has becomes a dataset, and a model is evaluated on it."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from loopwright.cli.main import main
from tests.flows.house import House

CONFIG = r"""
providers:
  fake:
    kind: scripted
    args:
      answers:
        - {match: 'How many eggs', text: "6 and 6 are 12.\n#### 12"}
        - {match: 'How many apples', text: "I cannot count."}
        - {match: 'no commas', text: "plain words without any"}
        - {match: 'in double quotation marks', text: "not quoted"}
      otherwise: "said: $last"
models:
  fake: {provider: fake}
"""
SUMS = [
    {"question": "How many eggs are 6 and 6?", "answer": "They are <<6+6=12>>12.\n#### 12"},
    {"question": "How many apples are 2 and 1?", "answer": "They are 3.\n#### 3"},
]
TOLD = [
    {"key": 1, "prompt": "Use no commas.", "instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]},
    {"key": 2, "prompt": "Answer in double quotation marks.", "instruction_id_list": ["startend:quotation"], "kwargs": [{}]},
]  # fmt: skip
Run = Callable[..., Any]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    house = House(tmp_path_factory.mktemp("benchmarks"), config=CONFIG).start()
    yield house
    assert house.stop() == 0, house.log.read_text()


@pytest.fixture
def run(house: House, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """A command, as the shell would start it; what it says as JSON, or how it failed."""
    monkeypatch.setenv("LOOPWRIGHT_URL", house.url)
    monkeypatch.setenv("LOOPWRIGHT_API_KEY", house.key)

    def command(*words: str) -> Any:
        capfd.readouterr()
        code = main([*words, "--json"])
        told = capfd.readouterr()
        return json.loads(told.out) if code == 0 else told.err

    return command


def lines(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def means(report: Any) -> dict[str, float]:
    [target] = report["findings"]["targets"]
    return {name: found["mean"] for name, found in target["scores"].items()}


def test_a_model_is_evaluated_on_a_file_of_a_benchmark(run: Run, tmp_path: Path) -> None:
    made = run("benchmarks", "import", "gsm8k", lines(tmp_path / "test.jsonl", SUMS))
    assert made["version"]["ref"] == "gsm8k@1"
    assert made["version"]["splits"]["test"] == 2
    done = run("eval", "run", "fake", "-d", "gsm8k", "-e", "numeric_match")
    assert means(done) == {"numeric_match": 0.5}
    run("benchmarks", "import", "ifeval", lines(tmp_path / "input_data.jsonl", TOLD), "--name", "told")
    loose = '{"kind": "ifeval", "name": "loose", "args": {"mode": "loose"}}'
    assert means(run("eval", "run", "fake", "-d", "told", "-e", "ifeval", "-e", loose)) == {"ifeval": 0.5, "loose": 0.5}


def test_a_file_that_is_none_is_refused_with_its_row(run: Run, tmp_path: Path) -> None:
    said = run("benchmarks", "import", "gsm8k", lines(tmp_path / "odd.jsonl", [SUMS[0], {"question": "x"}]))
    assert "odd.jsonl: row 2: a row of gsm8k has 'answer'" in said
    assert "did you mean 'gsm8k'" in run("benchmarks", "import", "gsm9k", str(tmp_path / "odd.jsonl"))
    listed = {each["name"]: each for each in run("benchmarks", "list")["benchmarks"]}
    assert listed["bfcl"]["evaluators"] == [{"kind": "tool_calls", "args": {"form": "bfcl"}}]
