"""Evaluation: evaluators, judges and how far to trust them, statistics, the runner, the gate."""
