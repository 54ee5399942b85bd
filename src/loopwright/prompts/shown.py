"""Prompts as programs and pages see them: JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from loopwright.prompts.moves import Move
from loopwright.prompts.patterns import Pattern
from loopwright.prompts.store import Entry, Prompt
from loopwright.prompts.version import Version


def prompt_shown(prompt: Prompt) -> dict[str, Any]:
    """A line of the list."""
    return {**asdict(prompt), "labels": dict(prompt.labels)}


def entry_shown(entry: Entry) -> dict[str, Any]:
    """A version without its texts."""
    return {**asdict(entry), "labels": list(entry.labels)}


def move_shown(move: Move) -> dict[str, Any]:
    """A move of a label."""
    return {
        "label": move.label,
        "from": move.before,
        "to": move.number,
        "rollback": move.back,
        "author": move.author,
        "at": move.at,
    }


def version_shown(version: Version) -> dict[str, Any]:
    """A version with its definition."""
    return {
        "name": version.name,
        "number": version.number,
        "version": version.spoken,
        "sha": version.sha,
        "project_id": version.project_id,
        "labels": list(version.labels),
        "note": version.note,
        "author": version.author,
        "created_at": version.created_at,
        "definition": dict(version.definition),
    }


def pattern_shown(pattern: Pattern) -> dict[str, Any]:
    """A starting point."""
    return asdict(pattern)
