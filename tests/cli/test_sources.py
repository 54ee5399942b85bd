import os
from pathlib import Path

import pytest

from loopwright.cli.sources import gathered
from loopwright.core.errors import BadRequest


def laid_out(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return root


def test_hidden_files_and_links_that_lead_out_are_passed_over(tmp_path: Path) -> None:
    outside = laid_out(tmp_path / "outside", "secret.txt", "more/secret.txt")
    root = laid_out(tmp_path / "root", "a.md", "b/c.md", ".hidden", ".git/config", "b/.cache/x")
    (root / "out.txt").symlink_to(outside / "secret.txt")
    (root / "folder").symlink_to(outside / "more")
    (root / "round").symlink_to(root)
    (root / "same.md").symlink_to(root / "b" / "c.md")
    (root / "nowhere").symlink_to(root / "none")
    os.mkfifo(root / "pipe")
    found = gathered([root])
    assert [each.name for each in found.sources] == ["a.md", "b/c.md", "same.md"]
    assert [name for name, _ in found.bad] == ["nowhere"]


def test_patterns_hold_for_paths_names_and_folders(tmp_path: Path) -> None:
    root = laid_out(tmp_path, "a.md", "b.txt", "drafts/c.md", "x/drafts.md", "x/y/d.md")

    def names(*globs: str, excluded: tuple[str, ...] = ()) -> list[str]:
        return [each.name for each in gathered([root], globs=globs, excluded=excluded).sources]

    assert names("*.md") == ["a.md", "drafts/c.md", "x/drafts.md", "x/y/d.md"]
    assert names("x/*") == ["x/drafts.md", "x/y/d.md"]
    assert names("*.md", excluded=("drafts",)) == ["a.md", "x/drafts.md", "x/y/d.md"]
    assert names(excluded=("*.md", "x")) == ["b.txt"]


def test_files_have_names_of_their_own_and_are_called_once(tmp_path: Path) -> None:
    root = laid_out(tmp_path, "a/same.md", "b/same.md", "c.txt")
    [source] = gathered([root / "a" / "same.md"], prefix="v1/").sources
    assert (source.name, source.size) == ("v1/same.md", 9)
    with pytest.raises(BadRequest, match="would both be called"):
        gathered([root / "a", root / "b"])
    with pytest.raises(BadRequest, match="neither a file"):
        gathered([root / "none"])
