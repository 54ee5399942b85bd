"""Plug-ins: one door for ours and for those that packages bring, and errors that name whose fault it is."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import EntryPoint, distributions
from pathlib import Path

import pytest

from loopwright.core.errors import NotFound, SettingsError, StartError
from loopwright.kit.plugins import Registry


@dataclass
class Bell:
    tone: str = "c"
    times: int = 1


@pytest.fixture
def package(tmp_path: Path) -> Iterator[Path]:
    """An installed package that brings three bells; the way in is Python's own."""
    (tmp_path / "clapper.py").write_text("def small(*, tone): return ('small', tone)\nbroken = 3\n")
    (tmp_path / "clapper_broken.py").write_text("import a_module_nobody_has\n")
    info = tmp_path / "clapper-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: clapper\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(
        "[loopwright.bells]\nsmall = clapper:small\nheavy = clapper_broken:make\nnothing = clapper:broken\n",
    )
    sys.path.insert(0, str(tmp_path))
    yield tmp_path
    sys.path.remove(str(tmp_path))
    for name in ("clapper", "clapper_broken"):
        sys.modules.pop(name, None)


def entries(package: Path) -> list[EntryPoint]:
    return [entry for found in distributions(path=[str(package)]) for entry in found.entry_points]


def test_ours_and_installed_ones_come_through_the_same_door(package: Path) -> None:
    bells: Registry[object] = Registry("bells", builtin={"ours": f"{__name__}:Bell"})
    assert bells.names() == ["heavy", "nothing", "ours", "small"]
    assert bells.make("ours", tone="d") == sys.modules[__name__].Bell(tone="d")
    assert bells.make("small", tone="e") == ("small", "e")


def test_a_module_is_imported_only_when_asked_for(package: Path) -> None:
    bells: Registry[object] = Registry("bells")
    bells.names()
    assert "clapper" not in sys.modules
    bells.find("small")
    assert "clapper" in sys.modules


def test_one_of_this_process_is_registered_by_hand() -> None:
    bells: Registry[Bell] = Registry("bells", installed=[])
    bells.register("mine")(Bell)

    @bells.register("loud")
    def loud(times: int) -> Bell:
        return Bell(times=times * 10)

    assert bells.make("mine") == Bell()
    assert bells.make("loud", times=2) == Bell(times=20)
    with pytest.raises(StartError, match="two bells named 'mine'"):
        bells.register("mine")(Bell)


def test_an_unknown_name_is_not_found_and_the_nearest_named() -> None:
    bells: Registry[Bell] = Registry("bells", installed=[], builtin={"silver": "bells:silver"})
    with pytest.raises(NotFound, match="no 'silvr' among the bells; did you mean 'silver'"):
        bells.make("silvr")


def test_a_broken_plugin_names_its_package(package: Path) -> None:
    bells: Registry[object] = Registry("bells")
    with pytest.raises(StartError, match=r"'heavy' .* from package clapper 1\.2\) cannot be loaded: ModuleNotFound"):
        bells.make("heavy")
    with pytest.raises(StartError, match=r"'nothing' .*clapper 1\.2\) is nothing that can be called"):
        bells.make("nothing")


def test_two_packages_of_one_name_are_both_named(package: Path) -> None:
    bells: Registry[object] = Registry("bells", builtin={"small": "bells:small"}, installed=entries(package))
    with pytest.raises(StartError, match=r"comes from Loopwright itself and package clapper 1\.2"):
        bells.make("small", tone="c")


def test_what_is_declared_twice_alike_is_one(package: Path) -> None:
    bells: Registry[object] = Registry("bells", builtin={"small": "clapper:small"}, installed=entries(package))
    assert bells.make("small", tone="c") == ("small", "c")


def test_arguments_it_does_not_take_are_refused_with_the_nearest() -> None:
    bells: Registry[Bell] = Registry("bells", installed=[])
    bells.register("mine")(Bell)
    with pytest.raises(SettingsError, match=r"bells 'mine': .*'tome'; did you mean 'tone'"):
        bells.make("mine", tome="c")
    with pytest.raises(SettingsError, match="it takes: tone, times"):
        bells.make("mine", zzz="c")
