"""Calls, raters and queues for tests of feedback."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from loopwright.core.call import Call, CallDetail
from loopwright.core.who import Principal
from loopwright.feedback.given import Author
from loopwright.feedback.queues import Reviews
from loopwright.feedback.review import NewItem, Review
from loopwright.feedback.rubric import Mode, criteria_of
from loopwright.kit.ids import Ids

AUTHOR = Author(name="ann", key_id=1)
_IDS = Ids()
_CALL = Call(
    id="", started_at=datetime.now(UTC), project_id=1, key_id=1, operation="chat", model="m", target="m", provider="p",
    outcome="ok", status=200, error_code=None, error=None, finish="stop", stream=False, input_tokens=1, output_tokens=1,
    cached_tokens=0, reasoning_tokens=0, usage_estimated=False, cost_nano=0, price_source=None, ttft_us=None,
    latency_us=1, client="t", session=None, trace_id="", span_id="", parent_id=None,
)  # fmt: skip


def call(**changes: Any) -> Call:
    return replace(_CALL, id=_IDS.new(), **changes)


def detail(of: Call) -> CallDetail:
    return CallDetail(call=of, request={}, response={})


def rater(number: int) -> Principal:
    return Principal(key_id=number, key_name=f"rater {number}", project_id=1, project="default")


async def queue(
    reviews: Reviews, items: int, *, mode: Mode = "rubric", raters: int = 2, name: str = "r", call: Call | None = None
) -> Review:
    other = "b" if mode == "pairwise" else None
    return await reviews.create(
        1,
        name,
        mode=mode,
        criteria=criteria_of([] if mode == "pairwise" else ["ok:yes,no"], mode),
        items=[NewItem(question=f"q {at}", answer="a", other=other, call=call) for at in range(items)],
        source={},
        author=AUTHOR,
        raters=raters,
    )
