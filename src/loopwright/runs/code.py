"""Which code ran: the commit of git, and whether something was not committed. Asks git and nobody else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any, Final

_PATIENCE: Final = 5.0


def code_of(folder: str | Path = ".") -> dict[str, Any]:
    """`commit`, `dirty`, `branch` and `script` of the code in `folder`; without git what there is of it.

    The address of a remote is not asked for: it may hold a password.
    """
    found: dict[str, Any] = {}
    if sys.argv and sys.argv[0]:
        found["script"] = Path(sys.argv[0]).name[:200]
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None:
        return found
    found["commit"] = commit
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    found["dirty"] = bool(changed) if changed is not None else None
    branch = _git(folder, "rev-parse", "--abbrev-ref", "HEAD")
    if branch is not None and branch != "HEAD":
        found["branch"] = branch
    return found


def _git(folder: str | Path, *arguments: str) -> str | None:
    command = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(  # noqa: S603 - our own words
            command, capture_output=True, text=True, check=False, timeout=_PATIENCE, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
