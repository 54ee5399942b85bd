"""Settles what a request had reserved by the record of its call: whatever became of it, there is exactly one."""

from __future__ import annotations

from dataclasses import dataclass

from loopwright.access.allowances import Allowances
from loopwright.calls.record import Opened, Record
from loopwright.gateway.recorded import Spooling


@dataclass(frozen=True, slots=True)
class Settled:
    """A spool before the spool. So limits count the very tokens and the very cost that are on record."""

    inner: Spooling
    allowances: Allowances

    def write(self, record: Record | Opened) -> None:
        """Append and settle, also when the record cannot be kept."""
        try:
            self.inner.write(record)
        finally:
            if type(record) is Record:
                self.allowances.settle(record)
