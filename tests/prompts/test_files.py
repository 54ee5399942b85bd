"""Prompts as files: what is written is read back as it was, and what says the same is left alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright.core.errors import BadRequest, NotFound
from loopwright.prompts.definition import definition
from loopwright.prompts.files import gather, load, parsed, save, written
from loopwright.prompts.markdown import read_markdown, write_markdown
from loopwright.prompts.patterns import patterns
from loopwright.prompts.yaml_text import read_yaml, write_yaml

TEXTS = st.text(
    alphabet=st.one_of(st.sampled_from(" \n\t-:#|>'\"&*!%@`<>{}[]\x85\u2028\ufeffé"), st.characters(codec="utf-8")),
    max_size=40,
).filter(lambda text: "\0" not in text)
VALUES = st.recursive(
    st.one_of(
        TEXTS, st.integers(-(2**63), 2**63), st.booleans(), st.none(), st.floats(allow_nan=False, allow_infinity=False)
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=6,
)
NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)
CONTENTS = TEXTS.filter(bool).map(lambda text: text.replace("\r\n", "\n").replace("\r", "\n"))
DOCUMENTS = st.fixed_dictionaries(
    {
        "messages": st.lists(
            st.fixed_dictionaries({"role": st.sampled_from(["system", "user", "assistant"]), "content": CONTENTS}),
            min_size=1,
            max_size=4,
        )
    },
    optional={
        "description": TEXTS.filter(bool),
        "partials": st.dictionaries(NAMES, CONTENTS, min_size=1, max_size=2),
        "metadata": st.dictionaries(TEXTS, VALUES, min_size=1, max_size=3),
    },
)


@settings(max_examples=150, deadline=None)
@given(DOCUMENTS)
def test_yaml_gives_back_what_was_written(document: dict[str, Any]) -> None:
    assert read_yaml(write_yaml(document))[0] == document


@settings(max_examples=150, deadline=None)
@given(DOCUMENTS)
def test_markdown_gives_back_what_was_written_or_says_that_it_cannot(document: dict[str, Any]) -> None:
    text = write_markdown(document)
    assert text is None or read_markdown(text)[0] == document


@settings(max_examples=100, deadline=None)
@given(TEXTS, st.booleans())
def test_any_text_is_a_prompt_or_refused(text: str, markdown: bool) -> None:  # noqa: FBT001 - drawn
    try:
        parsed(text, "x", markdown=markdown)
    except BadRequest as error:
        said = error.message
    else:
        said = "x"
    assert said.startswith("x")


def test_every_pattern_is_a_prompt_that_renders_and_keeps_its_content_as_a_file() -> None:
    for each in patterns():
        prompt = parsed(each.text, each.name)
        values, invented = prompt.sample()
        assert not invented
        assert [said["role"] for said in prompt.render(values)] == ["system", "user"]
        assert parsed(write_yaml(prompt.document), each.name).sha == prompt.sha
        assert parsed(written(prompt.document, ".md"), each.name, markdown=True).sha == prompt.sha


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.yaml", "variables: {q: string}\nmessages:\n  - role: user\n    content: |\n      x\n      {{ p }}\n", ":6: variable 'p' is not declared"),
        ("a.yaml", "messages:\n  - {role: user, content: '{{ 1 | uper }}'}\n", ":2: messages[0].content: there is no filter 'uper'; did you mean 'upper'?"),
        ("a.yaml", "messages:\n  - role: user\n   content: x\n", ":3: this is no YAML"),
        ("a.yaml", "messages: [*x]\n", "this is no YAML"),
        ("a.yaml", "x: &a [1]\ny: *a\n", ":1: an alias"),
        ("a.yaml", "messages: 1\nmessages: 2\n", ":2: 'messages' stands here twice"),
        ("a.yaml", "when: 2026-01-01\nmessages: []\n", "'when' is no member"),
        ("a.yaml", "x: !!python/object/apply:os.system [ls]\n", "nothing a prompt may have"),
        ("a.md", "---\nvariables: {q: string}\n---\n\n<!-- user -->\n\nline\n{{ p }}\n", ":8: variable 'p' is not declared"),
        ("a.md", "---\nvariables: {q: string}\n", ":1: what begins with ---"),
        ("a.md", "hello {{ x }}", ":1: variable 'x' is not declared"),
        ("a.md", "<!-- insert -->", ":1: <!-- insert NAME -->"),
        ("a.md", "", "messages"),
    ],
)  # fmt: skip
def test_an_error_names_file_line_and_variable(tmp_path: Path, name: str, text: str, said: str) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BadRequest) as caught:
        load(path)
    assert caught.value.message.startswith(f"{path}")
    assert said in caught.value.message


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(b"messages:\n  - \xff")
    with pytest.raises(BadRequest, match=":2: this is not UTF-8"):
        load(path)
    path.write_bytes(b"\xef\xbb\xbfmessages:\r\n  - role: user\r\n    content: |\r\n      a\r\n      b\r\n")
    assert load(path).prompt.document["messages"][0]["content"] == "a\nb"


def test_shared_partials_are_part_of_the_content_and_stay_in_their_files(tmp_path: Path) -> None:
    (tmp_path / "partials").mkdir()
    tone = tmp_path / "partials" / "tone.md"
    tone.write_text("Be {% include 'how' %}.\n", encoding="utf-8")
    (tmp_path / "partials" / "how.txt").write_text("brief", encoding="utf-8")
    path = tmp_path / "a.yaml"
    path.write_text("# mine\nmessages:\n- {role: user, content: \"x {% include 'tone' %}\"}\n", encoding="utf-8")
    prompt = load(path).prompt
    assert prompt.render({}) == [{"role": "user", "content": "x Be brief."}]
    assert set(prompt.document["partials"]) == {"tone", "how"}

    before = path.read_text(encoding="utf-8")
    assert save("a", prompt, tmp_path) == (path, False)
    assert path.read_text(encoding="utf-8") == before

    other = definition({**prompt.document, "description": "new"})
    assert save("a", other, tmp_path) == (path, True)
    assert "partials" not in path.read_text(encoding="utf-8")
    assert load(path).prompt.sha == other.sha

    tone.write_text("Be {{ nice }}.\n", encoding="utf-8")
    with pytest.raises(BadRequest, match=r"tone\.md:1: variable 'nice' is not declared"):
        load(path)
    assert save("a", other, tmp_path)[1]
    assert load(path).prompt.sha == other.sha, "a partial that differs is written into the file"


def test_a_file_keeps_its_ending_as_long_as_it_can_hold_the_prompt(tmp_path: Path) -> None:
    prompt = parsed("<!-- user -->\nhello\n", "a", markdown=True)
    assert save("a", prompt, tmp_path, ".md") == (tmp_path / "a.md", True)
    parts = definition({"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]})
    assert save("a", parts, tmp_path) == (tmp_path / "a.yaml", True)
    assert [each.name for each in tmp_path.iterdir()] == ["a.yaml"]
    with pytest.raises(BadRequest, match="Markdown cannot hold"):
        written(parts.document, ".md")


def test_files_are_gathered_by_name(tmp_path: Path) -> None:
    for name in ("b.md", "a.yaml", "README.md", "notes.txt"):
        (tmp_path / name).write_text("hello", encoding="utf-8")
    assert [each.name for each in gather([tmp_path])] == ["a.yaml", "b.md"]
    (tmp_path / "a.md").write_text("hello", encoding="utf-8")
    with pytest.raises(BadRequest, match="both prompt 'a'"):
        gather([tmp_path])
    with pytest.raises(BadRequest, match="ends with"):
        gather([tmp_path / "notes.txt"])
    with pytest.raises(NotFound):
        gather([tmp_path / "nothing"])
