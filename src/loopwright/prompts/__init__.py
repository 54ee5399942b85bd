"""Prompts: templates in a sandbox, immutable versions by content, labels that move with history."""
