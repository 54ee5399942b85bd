"""Spans: read from OpenTelemetry in whatever dialect, kept, found again as traces and sessions; ours sent out."""
