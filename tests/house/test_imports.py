"""Imports go down the floors, stand at the top of the file, and are written out."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from importlib.metadata import packages_distributions
from pathlib import Path

from tests.house.sources import PACKAGE, ROOT, functions, package_files, python_files, shown, tree


def test_the_floors_hold() -> None:
    program = "import sys; from importlinter.cli import lint_imports_command; sys.exit(lint_imports_command())"
    command = [sys.executable, "-c", program, "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


def test_no_import_is_relative() -> None:
    relative = [
        f"{shown(path)}:{node.lineno}"
        for path in python_files()
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert not relative


def test_no_import_hides_in_a_function() -> None:
    hidden = {
        f"{shown(path)}:{node.lineno}"
        for path in python_files()
        for function in functions(path)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert not hidden


def test_type_only_imports_are_imports() -> None:
    guarded = [
        f"{shown(path)}:{node.lineno}"
        for path in package_files()
        for node in ast.walk(tree(path))
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for each in ast.walk(node)
        if isinstance(each, ast.Import | ast.ImportFrom) and not _standard(each)
    ]
    assert not guarded


def _standard(node: ast.Import | ast.ImportFrom) -> bool:
    names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
    return all(name.partition(".")[0] in sys.stdlib_module_names for name in names)


def _imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return names | _postponed(path)


def _postponed(path: Path) -> set[str]:
    """What stands behind `Postponed("name")`; a name that is no plain string is shown as it is written."""
    return {
        each.value if isinstance(each, ast.Constant) and isinstance(each.value, str) else ast.unparse(each)
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Postponed"
        for each in node.args
    }


def test_only_libraries_are_postponed() -> None:
    own = {
        f"{shown(path)} postpones {name}"
        for path in package_files()
        for name in _postponed(path)
        if not re.fullmatch(r"[a-z0-9_.]+", name) or name.partition(".")[0] in {"loopwright", *sys.stdlib_module_names}
    }
    assert not own


def test_core_knows_the_standard_library_and_how_values_are_made() -> None:
    strange = {
        f"{shown(path)} imports {name}"
        for path in sorted((PACKAGE / "core").rglob("*.py"))
        for name in _imported(path)
        if name.partition(".")[0] not in {*sys.stdlib_module_names, "msgspec"}
        and not name.startswith("loopwright.core")
    }
    assert not strange


def test_heavy_libraries_stay_in_their_extras() -> None:
    heavy = {"torch", "ray", "vllm", "transformers", "peft", "trl"}
    found = {
        f"{shown(path)} imports {name}"
        for path in package_files()
        for name in _imported(path)
        if name.partition(".")[0] in heavy
    }
    assert not found


def _normal(name: str) -> str:
    return re.split(r"[\[\]<>=!~; ]", name, maxsplit=1)[0].lower().replace("_", "-").replace(".", "-")


def _undeclared(paths: Iterable[Path], declared: set[str]) -> set[str]:
    owners = packages_distributions()
    return {
        f"{shown(path)} imports {name}"
        for path in paths
        for name in _imported(path)
        if (top := name.partition(".")[0]) not in sys.stdlib_module_names
        and top not in {"loopwright", "tests", "examples"}
        and not path.with_name(f"{top}.py").exists()
        and not {_normal(owner) for owner in owners.get(top, ())} & declared
    }


def _unlisted(folder: Path) -> set[str]:
    """What scripts of another environment import without its list; `langchain_openai.x` is of `langchain-openai`."""
    lines = (folder / "requirements.in").read_text(encoding="utf-8").splitlines()
    listed = tuple(_normal(line) for line in lines if not line.startswith("#"))
    return {
        f"{shown(path)} imports {name}"
        for path in folder.glob("*.py")
        for name in _imported(path)
        if name.partition(".")[0] not in {*sys.stdlib_module_names, "loopwright"}
        and not re.sub(r"[_.]", "-", name).startswith(listed)
    }


def test_what_is_imported_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    base = {_normal(each) for each in project["dependencies"]}
    groups = project["optional-dependencies"]
    dev = base | {_normal(each) for each in groups["dev"]}
    # What stands behind a plug-in and brings a library of its own: one module each, loaded when it is asked for.
    extras = {_normal(each) for name, group in groups.items() if name != "dev" for each in group}
    strange = _undeclared(package_files(), base)
    assert not {found for found in strange if found.rpartition(" ")[2].partition(".")[0] not in extras}
    # Their libraries stand in an environment of their own.
    apart = [ROOT / "tests" / "flows" / "clients", ROOT / "examples" / "frameworks", ROOT / "bench" / "peers"]
    ours = {path for path in python_files() if path.parent not in apart}
    assert not _undeclared(ours - set(package_files()), dev | extras)
    assert not [each for folder in apart for each in _unlisted(folder) if " loopwright_" not in each]
