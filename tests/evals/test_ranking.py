from collections.abc import Mapping
from typing import Any

import pytest

from loopwright.core.errors import BadRequest
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
