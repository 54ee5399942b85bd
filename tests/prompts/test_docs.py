"""What docs/prompts.md shows is a prompt, and its mistakes read as it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from loopwright.core.errors import BadRequest
from loopwright.prompts.files import parsed
from loopwright.prompts.filters import FILTERS

PAGE = (Path(__file__).parents[2] / "docs" / "prompts.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    return PAGE.split(f"```{language}\n", 1)[1].split("```", 1)[0]


def test_its_files_are_prompts() -> None:
    prompt = parsed(block("yaml"), "prompts/answer.yaml")
    values, _ = prompt.sample()
    documents = [{"title": "Warranty", "text": "Two years."}]
    said = prompt.render({**values, "documents": documents, "history": [{"role": "user", "content": "Hello"}]})
    assert [each["role"] for each in said] == ["system", "user", "user"]
    assert "brief. If they do not say, say so.\n" in said[0]["content"]
    assert "## Warranty\nTwo years." in said[0]["content"]
    assert len(parsed(block("markdown"), "prompts/answer.md", markdown=True).messages) == 2


def test_its_mistake_reads_as_it_says() -> None:
    with pytest.raises(BadRequest) as caught:
        parsed(block("yaml").replace("{{ document.title }}", "{{ documnt.title }}"), "prompts/answer.yaml")
    assert caught.value.message == block("text").strip()


def test_it_lists_every_filter() -> None:
    listed = PAGE.split("need nothing but values:\n\n`", 1)[1].split("`", 1)[0].split()
    assert listed == sorted(FILTERS)
