import json
from typing import Any

import pytest

from loopwright.core.errors import BadRequest
from loopwright.kit import moderating


def read(given: Any, **other: Any) -> moderating.Body:
    return moderating.read(json.dumps({"input": given, **other}).encode())


def test_each_form_of_the_input_has_its_results() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    for given, texts in (("a", ["a"]), (["a", "b"], ["a", "b"]), (parts, ["a\nb"]), ("", [""])):
        read(given)
        assert moderating.texts({"input": given}) == texts


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "input: must not be empty"),
        (None, "input"),
        (7, "input"),
        (["a", {"type": "text", "text": "b"}], "only texts or only parts"),
        ([{"type": "text"}], r"input\[0\].text: is required"),
        ([{"text": "a"}], "type: is required"),
        (["a"] * 10_001, "at most 10,000"),
    ],
)
def test_what_cannot_be_judged_is_refused(given: Any, said: str) -> None:
    with pytest.raises(BadRequest, match=said) as refused:
        read(given)
    assert (refused.value.param or "").startswith("input")


def test_pictures_are_for_providers() -> None:
    given = [{"type": "image_url", "image_url": {"url": "https://x/y.png"}}]
    read(given)
    with pytest.raises(BadRequest, match="judges texts only"):
        moderating.texts({"input": given})


def test_a_model_has_a_name() -> None:
    assert read("a").model is None
    assert read("a", model="m").model == "m"
    with pytest.raises(BadRequest, match="model"):
        read("a", model="")
