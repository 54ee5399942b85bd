"""Where our own documentation is found, and that the assistant's example fits it."""

import json
import tomllib
from pathlib import Path

import loopwright
from loopwright.cli.collections_docs import NAME, documentation
from loopwright.console.assistant import TASK
from loopwright.kit.settings_file import load

ROOT = Path(loopwright.__file__).parents[2]
EXAMPLE = ROOT / "examples" / "docs_assistant"


def test_the_documentation_is_that_of_the_checkout_which_wheels_carry() -> None:
    assert documentation() == ROOT / "docs"
    built = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["build"]
    assert built["targets"]["wheel"]["force-include"] == {"docs": "loopwright/handbook"}


def test_the_example_names_the_task_and_the_collection() -> None:
    tasks = load(EXAMPLE / "loopwright.yaml", env={}).tasks
    [variant] = tasks[TASK].variants.values()
    assert variant.retrieval is not None
    assert variant.retrieval.collections == (NAME,)


def test_its_questions_are_for_pages_that_are_there() -> None:
    pages = [path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")]
    held = [json.loads(line) for line in (EXAMPLE / "held_out.jsonl").read_text(encoding="utf-8").splitlines()]
    asked = [json.loads(line) for line in (EXAMPLE / "asked.jsonl").read_text(encoding="utf-8").splitlines()]
    assert all(any(page.startswith(name) for page in pages) for each in held for name in each["pages"])
    assert not {each["query"] for each in held} & {each["query"] for each in asked}
    assert sum(each["answered"] for each in asked) * 2 == len(asked)
