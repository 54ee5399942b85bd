"""What every process of the house does first."""

from __future__ import annotations

import logging
import resource
from contextlib import suppress

from loopwright.kit.settings import Settings

LISTEN_FD = "LOOPWRIGHT_LISTEN_FD"
"""Environment variable: the descriptor of the listening socket that all workers share."""


def start_log(settings: Settings) -> None:
    """Log to standard error, which the supervisor keeps in a bounded file."""
    logging.basicConfig(level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")


def raise_file_limit() -> None:
    """As many open files as the system lets us have: every connection is one."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
