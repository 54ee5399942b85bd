"""The process that the recorder starts while there are evaluations: evaluators are strangers' programs, it is none's.

What they do to it (loop for ever, take all memory) does not touch the record of calls. Not for people.
"""

from __future__ import annotations

import logging
import os

import uvloop

from loopwright.cli.starting import raise_file_limit, start_log, until_told
from loopwright.kit.settings_file import load
from loopwright.laboratory.working import evaluate

_log = logging.getLogger(__name__)


def evaluator() -> None:
    """Run evaluations until told to stop."""
    settings = load(env=os.environ)
    start_log(settings)
    raise_file_limit()
    uvloop.run(until_told(evaluate(settings)))
