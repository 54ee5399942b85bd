"""Libraries imported when they are used."""

from __future__ import annotations

import subprocess
import sys

import pytest

from loopwright.kit.postponed import Postponed

_UNUSED = """
import sys
import loopwright.cli.gateway, loopwright.cli.recorder, loopwright.cli.up
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""


def test_a_library_is_there_when_it_is_used() -> None:
    base = Postponed("scipy.special")
    assert base.ndtr(0.0) == 0.5
    assert isinstance(2.0, Postponed("numbers").Real)


def test_one_that_is_missing_says_so_when_it_is_used() -> None:
    missing = Postponed("loopwright.nowhere")
    with pytest.raises(ModuleNotFoundError, match="nowhere"):
        _ = missing.anything


def test_what_is_not_there_is_named() -> None:
    with pytest.raises(AttributeError, match="no_such_thing"):
        _ = Postponed("scipy.special").no_such_thing


def test_processes_start_without_them() -> None:
    done = subprocess.run([sys.executable, "-c", _UNUSED], capture_output=True, text=True, check=True)
    assert not {"aiohttp", "genai_prices", "gguf", "rouge_score", "sacrebleu", "scipy"} & set(done.stdout.split())
