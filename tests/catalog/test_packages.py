"""Weights in packages: real distributions, made in a folder that the interpreter searches."""

import hashlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from loopwright.catalog import packages
from loopwright.core.errors import NotFound, StartError
from tests.catalog.tiny import write_gguf

Maker = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Maker]:
    """Lay a package out as pip would."""
    site = tmp_path / "site"
    site.mkdir()
    sys.path.insert(0, str(site))

    def package(name: str, files: dict[str, bytes], requires: tuple[str, ...] = ()) -> Path:
        module = name.replace("-", "_")
        for path, data in {**files, "__init__.py": b"raise SystemExit('nobody may import this')"}.items():
            target = site / module / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        info = site / f"{module}-1.0.dist-info"
        info.mkdir()
        needs = "".join(f"Requires-Dist: {one}\n" for one in requires)
        info.joinpath("METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\nLicense: MIT\n{needs}"
        )
        info.joinpath("RECORD").write_text("".join(f"{module}/{path},,\n" for path in files))
        return site / module

    yield package
    sys.path.remove(str(site))


def test_one_file_is_found_without_importing_the_package(make: Maker, tmp_path: Path) -> None:
    folder = make("tiny-weights", {"data/m.gguf": b"GGUF", "notes.txt": b""})
    assert packages.weights("tiny-weights", assembled=tmp_path) == folder / "data" / "m.gguf"
    assert packages.installed("tiny-weights")
    assert packages.licence("tiny-weights") == "MIT"


def test_a_transformer_is_its_folder(make: Maker, tmp_path: Path) -> None:
    folder = make("tiny-encoder", {"model/model.safetensors": b"", "model/config.json": b"{}"})
    assert packages.weights("tiny-encoder", assembled=tmp_path) == folder / "model"


def test_of_several_one_must_be_chosen(make: Maker, tmp_path: Path) -> None:
    folder = make("two-weights", {"a.gguf": b"", "b.gguf": b""})
    with pytest.raises(NotFound, match=r"a\.gguf, b\.gguf"):
        packages.weights("two-weights", assembled=tmp_path)
    assert packages.weights("two-weights/b", assembled=tmp_path) == folder / "b.gguf"


def test_parts_of_several_packages_become_one_file(make: Maker, tmp_path: Path) -> None:
    whole = write_gguf(tmp_path / "m.gguf", weights=5000).read_bytes()
    sums = f"{hashlib.sha256(whole).hexdigest()}  m.gguf\n".encode()
    make("spread", {"data/SHA256SUMS": sums}, ("spread-part1==1.0", "spread-part2==1.0"))
    with pytest.raises(NotFound, match="spread-part1, spread-part2"):
        packages.weights("spread", assembled=tmp_path / "models")
    make("spread-part1", {"data/m.gguf.part00": whole[:7000]})
    second = make("spread-part2", {"data/m.gguf.part01": whole[7000:]})
    path = packages.weights("spread", assembled=tmp_path / "models")
    assert path.read_bytes() == whole
    assert packages.weights("spread", assembled=tmp_path / "models") == path
    path.unlink()
    (second / "data" / "m.gguf.part01").write_bytes(whole[7000:-1] + b"!")
    with pytest.raises(StartError, match="add up to sha256"):
        packages.weights("spread", assembled=tmp_path / "models")
    assert list((tmp_path / "models").iterdir()) == []


def test_a_package_without_weights_or_none_at_all(make: Maker, tmp_path: Path) -> None:
    make("just-code", {"code.py": b""})
    with pytest.raises(NotFound, match="carries no weights"):
        packages.weights("just-code", assembled=tmp_path)
    with pytest.raises(NotFound, match="is not installed"):
        packages.weights("no-such-package-anywhere", assembled=tmp_path)
