from collections.abc import Mapping
from typing import Any

import pytest
from msgspec.structs import replace

from loopwright.core.errors import BadRequest
from loopwright.core.privacy import Privacy
from loopwright.core.score import Score
from loopwright.evals.ranking import Ranking
from tests.gateway.roads import ask, saying

pytestmark = pytest.mark.anyio


async def ranked(evaluator: str | Mapping[str, Any], said: str, *, as_json: bool = False) -> Score:
    answer = {"choices": [{"index": 0, "message": {"content": said}, "finish_reason": "stop"}]}
    return await Ranking()(
        evaluator, chat=saying(), request=ask(), inputs={"input": "x"}, answer=answer, as_json=as_json
    )


async def test_an_answer_is_scored_without_a_reference() -> None:
    contains = {"kind": "contains", "args": {"texts": ["please"]}}
    assert (await ranked(contains, "please sit")).value == 1.0
    assert (await ranked(contains, "sit")).value == 0.0


async def test_what_needs_a_reference_has_no_score_and_says_why() -> None:
    score = await ranked("exact_match", "a")
    assert score.value is None
    assert score.missing


async def test_an_evaluator_that_is_not_there_is_refused() -> None:
    with pytest.raises(BadRequest, match="contains"):
        await ranked("contians", "a")
    assert "contains" in (Ranking().check("contians") or "")
    assert Ranking().check("exact_match") is None


class Near:
    """An embedder to whom all texts mean the same; notes for whom it was asked."""

    def __init__(self, name: str, heard: list[Any]) -> None:
        self.name, self.dimensions = name, 1
        self._heard = heard

    async def __call__(self, texts: list[str], /, *, privacy: Privacy | None = None) -> list[list[float]]:
        self._heard.append((self.name, privacy))
        return [[1.0] for _ in texts]


async def test_meaning_is_compared_under_the_policy_of_the_call() -> None:
    heard: list[Any] = []
    ranking = Ranking(embedding=lambda _chat, name: Near(name, heard), embeds=("mini", "large"))
    inputs = {"context": "The warranty of the red kettle lasts two years."}
    answer = {"choices": [{"index": 0, "message": {"content": "The warranty lasts two years."}}]}
    request = replace(ask(), privacy=Privacy(redact=frozenset({"email"})))
    for spec, name in (("grounded", "mini"), ({"kind": "grounded", "args": {"model": "large"}}, "large")):
        score = await ranking(spec, chat=saying(), request=request, inputs=inputs, answer=answer, as_json=False)
        assert score.value is not None
        assert heard[-1] == (name, request.privacy)
    assert ranking.check("grounded") is None
    assert "did you mean 'mini'" in (ranking.check({"kind": "grounded", "args": {"model": "mimi"}}) or "")
    assert "no model here embeds" in (Ranking(embedding=lambda _chat, name: Near(name, heard)).check("grounded") or "")
