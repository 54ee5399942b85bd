"""Answers that were given before: what makes two questions the same, and where answers are held."""
