"""`python -m loopwright.cli.child _NAME`: a process that `loopwright up` starts. Not for people.

Apart from the commands, as what reads and helps with those is a tenth of a worker's start and none of its work.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Final

from loopwright.core.errors import LoopwrightError, SettingsError
from loopwright.kit.postponed import at_rest

NAMES: Final[Mapping[str, str]] = {
    f"_{name}": name for name in ("gateway", "recorder", "evaluator", "ingester", "monitor")
}
"""By what they are called in a list of processes: the module of `cli`, and its function."""


def main(arguments: Sequence[str]) -> int:
    """Be the process of this name until it is told to stop; its exit code, as of any command."""
    name = NAMES[arguments[0]]
    try:
        with at_rest():
            module = import_module(f"loopwright.cli.{name}")
        getattr(module, name)()
    except LoopwrightError as error:
        return _complained(error.message, 2 if isinstance(error, SettingsError) else 1)
    except OSError as error:
        return _complained(f"{f'{error.filename}: ' if error.filename else ''}{error.strerror or error}", 1)
    return 0


def _complained(message: str, code: int) -> int:
    """The supervisor keeps the last lines of what is said here, for who started it."""
    if os.environ.get("LOOPWRIGHT_DEBUG"):
        traceback.print_exc()
    sys.stderr.write(f"error: {message}\n")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
