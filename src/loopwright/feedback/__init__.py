"""Feedback: scores and corrections on calls, and the queue where people review."""
