"""`observe`: steps of a plain Python program as spans of OpenTelemetry, sent to a Loopwright in the background."""

from __future__ import annotations

from typing import Final

from loopwright.observing.observer import Observer
from loopwright.observing.step import Step

__all__ = ["Observer", "Step", "observe"]

observe: Final = Observer()
"""Sends to `LOOPWRIGHT_URL` with `LOOPWRIGHT_API_KEY`. Opens nothing before its first step."""
