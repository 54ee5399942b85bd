"""What is asked of a target for an example, what it answered, and the name both have by their content."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from loopwright.core.errors import BadRequest, UpstreamBroke
from loopwright.core.score import Score
from loopwright.datasets.example import Example
from loopwright.evals.evaluator import Output
from loopwright.evals.paced import Said
from loopwright.kit import wire_read

_FORM: Final = 1
"""Of what is hashed and of what is stored under it: another form is another name."""
_OUTPUT: Final = msgspec.json.Decoder(Output)
_SCORE: Final = msgspec.json.Decoder(Score)


def answer_key(definition: bytes, inputs: Mapping[str, Any], nonce: str) -> bytes:
    """The name of what a target (by the digest of its definition) answers to inputs; `nonce` tells askings apart."""
    return digest(["answer", _FORM, definition.hex(), inputs, nonce])


def score_key(spec: Mapping[str, Any], example: Example, outputs: tuple[Output, ...], nonce: str) -> bytes:
    """The name of what an evaluator finds of answers to an example."""
    said = [
        [output.text, output.tool_calls, output.error, *([output.passages] if output.passages else [])]
        for output in outputs
    ]
    return digest(["score", _FORM, spec, example.inputs, example.expected, said, nonce])


def digest(value: Any) -> bytes:
    """SHA-256 of a value as JSON, whatever the order of its members.

    Raises:
        BadRequest: it is no JSON.
    """
    try:
        return hashlib.sha256(msgspec.json.encode(value, order="deterministic")).digest()
    except (msgspec.MsgspecError, TypeError, ValueError, RecursionError) as error:
        raise BadRequest(f"this is no JSON: {error}") from None


def plain_messages(name: str, inputs: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What a model (the target called `name`) is asked without a prompt: the conversation of the example, or its only text.

    Raises:
        BadRequest: the inputs have neither.
    """
    given = inputs.get("messages")
    if isinstance(given, list) and given:
        return wire_read.dicts(given)
    texts = [value for value in inputs.values() if isinstance(value, str)]
    if len(inputs) == 1 and texts:
        return [{"role": "user", "content": texts[0]}]
    names = ", ".join(sorted(str(name) for name in inputs)[:10]) or "nothing"
    raise BadRequest(
        f"targets: {name!r} needs a template or a prompt: the inputs are {names}, and a model by itself takes"
        " `messages` or one text",
        param="targets",
    )


def task_body(model: str, parameters: Mapping[str, Any], inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The request of a task: inputs as variables, a conversation as messages."""
    variables = {name: value for name, value in inputs.items() if name != "messages"}
    messages = inputs.get("messages")
    return {
        **parameters,
        "model": model,
        "messages": messages if isinstance(messages, list) else [],
        "loopwright": {"variables": variables, "passages": True},
    }


def output_of(said: Said, *, formed: bool) -> Output:
    """What an answer says; `formed` is one that must be JSON.

    Raises:
        UpstreamBroke: it is no answer of a chat.
    """
    body = wire_read.whole(said.delta.raw)
    choice = wire_read.choice_of(body)
    message = None if choice is None else choice.get("message")
    if choice is None or not isinstance(message, dict):
        raise UpstreamBroke("the answer has no choices")
    text, usage, finish = wire_read.text(message.get("content")), said.delta.usage, choice.get("finish_reason")
    return Output(
        text=text,
        value=_json(text) if formed else None,
        tool_calls=wire_read.dicts(message.get("tool_calls")),
        finish=finish if isinstance(finish, str) else None,
        call_id=said.call_id,
        input_tokens=0 if usage is None else usage.input,
        output_tokens=0 if usage is None else usage.output,
        cost_nano=said.delta.cost_nano,
        latency_us=said.latency_us,
        model=said.delta.model,
        passages=_passages(body),
    )


def output_bytes(output: Output) -> bytes:
    """As it is stored."""
    return msgspec.json.encode(output)


def output_read(payload: bytes) -> Output:
    """From how it is stored."""
    return _OUTPUT.decode(payload)


def score_bytes(score: Score) -> bytes:
    """As it is stored; details that are no JSON are left out."""
    return msgspec.json.encode(score, enc_hook=str)


def score_read(payload: bytes) -> Score:
    """From how it is stored."""
    return _SCORE.decode(payload)


def _passages(body: Mapping[str, Any]) -> list[str]:
    """The texts of the passages that an answer stands on, as the road tells of them."""
    ours = body.get("loopwright")
    told = ours.get("retrieval") if isinstance(ours, dict) else None
    sources = wire_read.dicts(told.get("sources")) if isinstance(told, dict) else []
    return [text for source in sources if isinstance(text := source.get("text"), str)]


def _json(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
