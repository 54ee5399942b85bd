"""Calls taken out of the house: files, and mirrors in MLflow, Langfuse and Weights & Biases."""
