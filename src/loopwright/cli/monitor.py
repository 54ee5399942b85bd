"""The process that the recorder keeps beside it while there is something to watch. Not for people."""

from __future__ import annotations

import os

import uvloop

from loopwright.cli.starting import raise_file_limit, start_log, until_told
from loopwright.kit.settings_file import load
from loopwright.laboratory.watching import watch


def monitor() -> None:
    """Watch what is to be watched until told to stop."""
    settings = load(env=os.environ)
    start_log(settings)
    raise_file_limit()
    uvloop.run(until_told(watch(settings)))
