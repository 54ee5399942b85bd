"""The docs are complete, fresh and true to the tree."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from loopwright.core.errors import SettingsError
from loopwright.kit.settings_file import load, variables
from tests.house.sources import PACKAGE, ROOT, docs, package_files, rooms, shown

LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(?:#[^)]*)?\)")
VARIABLE = re.compile(r"\bLOOPWRIGHT_[A-Z][A-Z_]*[A-Z]\b")
INTERNAL = {"LOOPWRIGHT_ENGINE", "LOOPWRIGHT_LISTEN_FD"}
"""Set by the supervisor for its children, for nobody else."""


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_settings_and_commands_are_written_down() -> None:
    command = [sys.executable, "scripts/write_docs.py", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_variable_is_written_down() -> None:
    used = {name for path in package_files() for name in VARIABLE.findall(path.read_text(encoding="utf-8"))}
    known = set(VARIABLE.findall(docs()))
    assert not (used | {name for name, _ in variables()}) - known - INTERNAL


def test_every_plug_in_point_is_written_down() -> None:
    groups = {
        found
        for path in package_files()
        for found in re.findall(r"Registry(?:\[[^\]]*\])?\(\s*\"([a-z_.]+)\"", path.read_text(encoding="utf-8"))
    }
    said = docs()
    assert not {group for group in groups if f"loopwright.{group.removeprefix('loopwright.')}" not in said}


def test_the_map_lists_every_room() -> None:
    for page in ("docs/architecture.md", "README.md"):
        text = read(page)
        missing = [room for room in rooms() if not re.search(rf"^\s+{room}/\s+\S", text, re.MULTILINE)]
        assert not missing, page


def test_the_map_lists_no_room_that_is_not_there() -> None:
    tree = read("docs/architecture.md").split("```")[1]
    listed = re.findall(r"^\s+([a-z]+)/\s", tree, re.MULTILINE)
    assert not set(listed) - set(rooms())


def test_links_lead_somewhere() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    broken = [
        f"{shown(page)}: {target}"
        for page in pages
        for target in LINK.findall(page.read_text(encoding="utf-8"))
        if "://" not in target and not target.startswith("mailto:") and not (page.parent / target).exists()
    ]
    assert not broken


def test_every_page_can_be_reached() -> None:
    pages = set((ROOT / "docs").rglob("*.md"))
    linked: set[Path] = set()
    for page in (*ROOT.glob("*.md"), *pages):
        targets = LINK.findall(page.read_text(encoding="utf-8"))
        linked |= {(page.parent / target).resolve() for target in targets if "://" not in target}
    assert not [shown(page) for page in pages if page.resolve() not in linked]


def test_decisions_fit_a_page_and_are_listed() -> None:
    folder = ROOT / "docs" / "adr"
    index = (folder / "README.md").read_text(encoding="utf-8")
    decisions = [path for path in folder.glob("*.md") if path.name != "README.md"]
    assert decisions
    for path in decisions:
        text = path.read_text(encoding="utf-8")
        assert re.fullmatch(r"\d{4}-[a-z0-9-]+\.md", path.name)
        assert path.name in index
        assert "## Decision" in text, path.name
        assert "## Consequences" in text, path.name
        assert len(text.split()) <= 800, path.name


def test_the_changelog_says_outcomes_briefly() -> None:
    entries = re.findall(r"^- (.+(?:\n  .+)*)", read("CHANGELOG.md"), re.MULTILINE)
    assert entries
    assert not [entry for entry in entries if len(entry.split()) > 25]


def test_the_version_has_its_changes() -> None:
    found = re.search(r'__version__ = "([^"]+)"', (PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    assert found is not None
    assert f"## {found[1]}" in read("CHANGELOG.md")


def test_make_targets_are_written_down() -> None:
    targets = set(re.findall(r"^([a-z]+):.*##", read("Makefile"), re.MULTILINE))
    assert not {target for target in targets if f"make {target}" not in docs() + read("CONTRIBUTING.md")}


def test_the_mistakes_in_the_docs_read_as_they_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = read("docs/configuration.md")
    wrong, said = page.split("```yaml\n")[1].split("```")[0], page.split("```text\n")[1].split("```")[0]
    monkeypatch.chdir(tmp_path)
    Path("loopwright.yaml").write_text(wrong, encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        load(env={})
    assert str(caught.value) == said.strip()


def test_the_example_of_a_company_loads() -> None:
    env = {"LOOPWRIGHT_PG": "postgresql://db/loopwright", "OPENAI_API_KEY": "sk"}
    assert load(ROOT / "examples" / "loopwright.yaml", env=env).models["gpt-4o-mini"].aliases == ("small",)
