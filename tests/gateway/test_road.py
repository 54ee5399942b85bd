import asyncio
import json
from contextlib import aclosing

import pytest

from loopwright.calls.record import Opened
from loopwright.core.chat import Delta
from loopwright.core.errors import BadRequest, LoopwrightError, Refused, UnknownModel, UpstreamBroke
from loopwright.core.money import Usage
from loopwright.core.who import Principal
from loopwright.gateway.routed import Target
from tests.gateway.roads import Memory, ask, deltas, events, recorded, road, saying, scripted

pytestmark = pytest.mark.anyio
LIMITED = Principal(key_id=7, key_name="intern", project_id=3, project="p", models=frozenset({"m"}))


@pytest.fixture
def spool() -> Memory:
    return Memory()


async def test_an_answer_says_what_answered_and_what_it_cost(spool: Memory) -> None:
    found = await deltas(road({"m": scripted({"answers": [{"text": "one two three"}]})}, spool), ask("how much"))
    [record] = spool.records
    body = json.loads(found[-1].raw)
    assert body["choices"][0]["message"]["content"] == "one two three"
    assert (found[0].model, found[0].provider) == ("m", "fake")
    used = Usage(input=body["usage"]["prompt_tokens"], output=body["usage"]["completion_tokens"])
    assert found[-1].cost_nano == record.cost_nano == used.input * 1000 + used.output * 2000
    assert (record.outcome, record.status, record.answer) == ("ok", 200, found[-1].raw)


async def test_a_stream_is_events_and_its_beginning_is_noted(spool: Memory) -> None:
    chat = road({"m": scripted({"answers": [{"text": "one two three"}]})}, spool)
    found = await deltas(chat, ask(stream=True, stream_options={"include_usage": True}))
    said = events(b"".join(delta.raw for delta in found))
    assert "".join(event["choices"][0]["delta"].get("content", "") for event in said if event["choices"]) == (
        "one two three"
    )
    assert said[-1]["choices"] == []
    assert said[-1]["usage"]["completion_tokens"] == 3
    opened, record = spool.written
    assert isinstance(opened, Opened)
    assert (opened.record.id, opened.record.outcome) == (record.id, "interrupted")  # type: ignore[union-attr]
    assert spool.records[0].ttft_us is not None


async def test_the_record_is_written_before_the_last_piece_goes_out(spool: Memory) -> None:
    chat = road({"m": scripted()}, spool)
    async with aclosing(chat(ask(stream=True))) as answer:
        async for delta in answer:
            assert bool(spool.records) == delta.done


async def test_a_model_nobody_has_is_refused_by_naming_the_nearest(spool: Memory) -> None:
    with pytest.raises(UnknownModel, match="did you mean 'smollm'"):
        await deltas(road({"smollm": scripted()}, spool), ask(model="smolm"))
    [record] = spool.records
    assert (record.outcome, record.status, record.error_code, record.cost_nano) == (
        "refused",
        404,
        "model_not_found",
        0,
    )


async def test_a_key_is_not_told_of_models_it_may_not_call(spool: Memory) -> None:
    chat = road({"secret-model": scripted(), "m": scripted()}, spool)
    with pytest.raises(Refused) as caught:
        await deltas(chat, ask(model="secret-model2", who=LIMITED))
    assert "secret-model'" not in caught.value.message
    assert spool.records[0].project_id == 3


async def test_an_operation_a_model_cannot_do_is_refused(spool: Memory) -> None:
    target = scripted()
    embedder = Target(chat=target.chat, provider="fake", model="m", operations=frozenset({"embeddings"}), price=None)
    with pytest.raises(BadRequest, match="does not do chat; it does: embeddings"):
        await deltas(road({"m": embedder}, spool), ask())


async def test_what_has_no_price_is_unpriced_and_not_free(spool: Memory) -> None:
    found = await deltas(road({"m": scripted(price=None)}, spool), ask())
    assert found[-1].cost_nano is None
    assert spool.records[0].cost_nano is None


async def test_a_failure_in_the_middle_is_recorded_with_what_was_said(spool: Memory) -> None:
    chat = recorded(saying(Delta(raw=b"data: {}\n\n", provider="p"), error=UpstreamBroke("cut off")), spool)
    with pytest.raises(UpstreamBroke):
        await deltas(chat, ask(stream=True))
    [record] = spool.records
    assert (record.outcome, record.status, record.error_code, record.answer) == (
        "error",
        502,
        "upstream_broke",
        b"data: {}\n\n",
    )
    assert record.usage_estimated
    assert record.output_tokens == 1


async def test_a_bug_below_is_recorded_without_its_text(spool: Memory) -> None:
    with pytest.raises(RuntimeError):
        await deltas(recorded(saying(error=RuntimeError("secret")), spool), ask())
    assert "secret" not in (spool.records[0].error or "")
    assert spool.records[0].error_code == "internal"


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_client_that_hangs_up_is_recorded_once_with_its_tokens(when: str, spool: Memory) -> None:
    args = {"answers": [{"text": "a b c d e f g h"}], "between": 0.02}
    chat = road({"m": scripted(args)}, spool)
    seen = asyncio.Event()

    async def client() -> None:
        async with aclosing(chat(ask(stream=True))) as answer:
            async for delta in answer:
                if delta.text or b'"content":"' in delta.raw:
                    seen.set()

    task = asyncio.create_task(client())
    if when == "after":
        await seen.wait()
    else:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    [record] = spool.records
    assert (record.outcome, record.status) == ("cancelled", 499)
    assert (record.output_tokens > 0) == (when == "after")
    assert (record.cost_nano or 0) > 0 or when == "before"


async def test_several_choices_and_tool_calls_come_whole(spool: Memory) -> None:
    pieces = (
        Delta(
            extra={
                "tool_calls": [{"index": 0, "id": "1", "type": "function", "function": {"name": "f", "arguments": ""}}]
            }
        ),
        Delta(extra={"tool_calls": [{"index": 0, "function": {"arguments": '{"a":'}}]}),
        Delta(extra={"tool_calls": [{"index": 0, "function": {"arguments": "1}"}}]}),
        Delta(index=1, text="other "),
        Delta(index=1, text="choice", finish="stop"),
        Delta(finish="tool_calls", usage=Usage(input=1, output=2), done=True),
    )
    target = scripted()
    from_pieces = Target(
        chat=type(target.chat)(saying(*pieces)),  # type: ignore[call-arg]
        provider="fake",
        model="m",
        operations=target.operations,
        price=None,
    )
    [delta] = await deltas(road({"m": from_pieces}, spool), ask())
    first, second = json.loads(delta.raw)["choices"]
    assert first["message"]["tool_calls"] == [
        {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
    ]
    assert (first["finish_reason"], second["message"]["content"]) == ("tool_calls", "other choice")


async def test_without_payloads_only_the_figures_are_kept() -> None:
    spool = Memory()
    await deltas(recorded(road({"m": scripted()}, Memory()), spool, payloads=False), ask("a secret"))
    assert (spool.records[0].request, spool.records[0].answer) == (b"", b"")
    assert spool.records[0].input_tokens > 0


async def test_a_call_that_cannot_be_recorded_is_not_answered(spool: Memory) -> None:
    class Full(Memory):
        def write(self, _record: object) -> None:
            raise LoopwrightError("full")

    with pytest.raises(LoopwrightError, match="full"):
        await deltas(road({"m": scripted()}, Full()), ask())
