"""Run by test_wandb.py, with the library of the clients' environment behind ours: rows of calls and a score to FOLDER."""

import asyncio
import sys
from contextlib import suppress
from datetime import UTC, datetime
from importlib import import_module

from loopwright.core.call import Call, CallDetail
from loopwright.exports.exporter import Said
from loopwright.exports.outgoing import Outgoing


def call(number: int) -> Call:
    return Call(
        id=f"call-{number}", started_at=datetime.now(UTC), project_id=1, key_id=1, operation="chat", model="m",
        target="t", provider="p", outcome="ok", status=200, error_code=None, error=None, finish=None, stream=False,
        input_tokens=1, output_tokens=2, cached_tokens=0, reasoning_tokens=0, usage_estimated=False, cost_nano=5,
        price_source=None, ttft_us=1, latency_us=2, client="", session=None, trace_id="a" * 32, span_id="b" * 16,
        parent_id=None, tags={"team": "x"},
    )  # fmt: skip


async def main(site: str, folder: str) -> None:
    sys.path.append(site)
    place = import_module("loopwright.exports.wandb_offline").WandbOffline(folder, texts=True)
    details = [CallDetail(call=call(n), request={"asked": f"what {n}"}, response=None) for n in range(3)]
    await place.send([Outgoing(detail=each, texts=True, scores=[{"name": "good", "value": 0.5}]) for each in details])
    breaking = [Outgoing(detail=CallDetail(call=call(n), request=None, response=None), texts=True) for n in (10, 11)]
    rows = [place._row(each) for each in breaking]
    for some in ([rows[0], {1: "no name"}], rows):
        with suppress(TypeError, ValueError):
            place._log(some)
    await place.score([Said(call=call(0), score={"name": "late", "value": None, "label": "fine", "passed": None})])
    assert await place.forget(["a" * 32]) == 0
    await place.close()


asyncio.run(main(*sys.argv[1:]))
