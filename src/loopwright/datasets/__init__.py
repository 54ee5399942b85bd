"""Datasets: examples, immutable versions, splits that do not leak, formats in and out."""
