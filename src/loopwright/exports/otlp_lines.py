"""Calls as lines of OTLP's JSON, as OpenTelemetry's file exporter writes them."""

from __future__ import annotations

from collections.abc import Sequence

from loopwright.exports.outgoing import Outgoing
from loopwright.exports.spans import told_request
from loopwright.telemetry.emitted import as_json


class OtlpLines:
    """A line is an ExportTraceServiceRequest."""

    def add(self, some: Sequence[Outgoing]) -> bytes:
        """One line for all of them."""
        return as_json(told_request(some)) + b"\n"

    def end(self) -> bytes:
        """Nothing more."""
        return b""
