"""What tests of evaluators share: one answer measured, and where the real data is."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from loopwright.core.score import Score
from loopwright.datasets.example import Example
from loopwright.evals.evaluator import Output, Tools
from loopwright.evals.evaluators import make

DATA = Path(os.environ.get("LOOPWRIGHT_TEST_DATA", "../shared/data"))


def found(
    spec: Mapping[str, Any] | str,
    text: str = "",
    expected: Any = None,
    *,
    inputs: Mapping[str, Any] | None = None,
    metadata: Mapping[str, Any] | None = None,
    tools: Tools | None = None,
    **output: Any,
) -> Score:
    """What an evaluator finds of one answer."""
    example = Example(id="1", inputs=inputs or {}, expected=expected, metadata=metadata or {})
    return asyncio.run(_of(spec, example, Output(text=text, **output), tools))


async def _of(spec: Mapping[str, Any] | str, example: Example, output: Output, tools: Tools | None) -> Score:
    return await make(spec, tools)(example, output)


def rows(name: str) -> list[dict[str, Any]]:
    """The rows of a file of the real data; skips the test where it is absent."""
    path = DATA / name
    if not path.exists():
        pytest.skip(f"{path} is absent; LOOPWRIGHT_TEST_DATA says where the real data is")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
