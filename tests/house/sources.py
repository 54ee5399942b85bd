"""What the house tests look at: our own files, parsed once."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "loopwright"
OURS = ("src", "tests", "bench", "examples", "scripts")
TEXTS = (*OURS, "docs", ".ci")
SUFFIXES = {".py", ".md", ".yaml", ".yml", ".toml", ".sql", ".html", ".js", ".css", ".sh", ".c", ".txt", ".cfg", ""}


@cache
def python_files() -> tuple[Path, ...]:
    return tuple(sorted(path for folder in OURS for path in (ROOT / folder).rglob("*.py") if "out" not in path.parts))


@cache
def package_files() -> tuple[Path, ...]:
    return tuple(sorted(PACKAGE.rglob("*.py")))


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


@cache
def text_files() -> tuple[Path, ...]:
    """Every text of ours that is published."""
    found = [path for folder in TEXTS for path in (ROOT / folder).rglob("*") if path.suffix in SUFFIXES]
    found += [path for path in ROOT.iterdir() if path.suffix in SUFFIXES and path.name not in {".git", ".coverage"}]
    return tuple(
        sorted(path for path in found if path.is_file() and "__pycache__" not in path.parts and "out" not in path.parts)
    )


def shown(path: Path) -> str:
    return str(path.relative_to(ROOT))


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def rooms() -> list[str]:
    """The packages of the house."""
    return sorted(path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists())


def docs() -> str:
    """README and docs, as one text."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return "\n".join(page.read_text(encoding="utf-8") for page in pages)
