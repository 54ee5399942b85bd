"""Sizes, names, first lines: what keeps a file easy to read."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from tests.house.sources import PACKAGE, ROOT, functions, package_files, python_files, shown, text_files, tree

LONGEST_FILE = 400
LONGEST_FUNCTION = 60
VAGUE = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "service", "handler"}


def test_files_stay_small() -> None:
    sizes = {shown(path): len(path.read_text(encoding="utf-8").splitlines()) for path in python_files()}
    assert not {name: lines for name, lines in sizes.items() if lines > LONGEST_FILE}


def _lines(path: Path, function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """A command's signature is the table of its options, so in cli/ only what follows it counts."""
    first = function.body[0].lineno if path.is_relative_to(PACKAGE / "cli") else function.lineno
    return (function.end_lineno or first) - first + 1


def test_functions_stay_small() -> None:
    long = {
        f"{shown(path)}:{function.lineno} {function.name}": size
        for path in python_files()
        for function in functions(path)
        if (size := _lines(path, function)) > LONGEST_FUNCTION
    }
    assert not long


def test_every_file_begins_by_saying_what_it_is() -> None:
    """A test mirrors the house, so there its path says it."""
    files = [path for path in python_files() if not path.name.startswith("test_")]
    assert not [shown(path) for path in files if not ast.get_docstring(tree(path))]


def test_sql_begins_by_saying_what_it_is() -> None:
    silent = [
        shown(path) for path in PACKAGE.rglob("*.sql") if not path.read_text(encoding="utf-8").lstrip().startswith("--")
    ]
    assert not silent


def _words(name: str) -> set[str]:
    return {word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)}


def test_names_say_something() -> None:
    modules = {shown(path) for path in package_files() if _words(path.stem) & VAGUE}
    classes = {
        f"{shown(path)}: {node.name}"
        for path in package_files()
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ClassDef) and _words(node.name) & VAGUE
    }
    assert not modules | classes


def test_no_module_holds_global_state() -> None:
    """`global` would be state that a test has to patch."""
    rebound = [
        f"{shown(path)}:{node.lineno}"
        for path in package_files()
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Global)
    ]
    assert not rebound


def test_tests_patch_nothing_of_ours() -> None:
    """Environment, working folder and search path may be set; our own code is given what it needs."""
    allowed = {"chdir", "setenv", "delenv", "syspath_prepend", "MonkeyPatch", "context"}
    patched = [
        f"{shown(path)}:{node.lineno}"
        for path in python_files()
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id in {"monkeypatch", "mock", "mocker"}
        and node.attr not in allowed
    ]
    assert not patched
    assert not [shown(path) for path in python_files() if "unittest." + "mock" in path.read_text(encoding="utf-8")]


def test_no_file_knows_the_machine_it_was_written_on() -> None:
    places = "|".join(
        ("/ro" + "ot/", "/wo" + "rk/", "/ho" + "me/[a-z]", "/Us" + "ers/", "/tmp/br" + "ief", "/o" + "pt/py")
    )
    hosts = "|".join(("pypi" + r"\.org", "files\\." + "pythonhosted"))
    pattern = re.compile(f"{places}|{hosts}")
    found = [
        f"{shown(path)}:{number}: {line.strip()[:80]}"
        for path in text_files()
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1)
        if pattern.search(line)
    ]
    assert not found


def test_there_is_no_lock_file() -> None:
    locks = {"uv.lock", "poetry.lock", "pdm.lock", "Pipfile.lock", "requirements.txt", "package-lock.json"}
    assert not locks & {path.name for path in ROOT.iterdir()}
