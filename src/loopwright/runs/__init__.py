"""Runs: experiments tracked with their parameters, metrics over time, artifacts and notes."""
