"""A call as commands to run it again: curl for a shell, the openai SDK for Python."""

from __future__ import annotations

import json
import pprint
import shlex
from collections.abc import Mapping
from typing import Any

_PATHS = {"chat": "/chat/completions", "completion": "/completions", "embeddings": "/embeddings"}
_METHODS = {"chat": "chat.completions", "completion": "completions", "embeddings": "embeddings"}
_SDK = frozenset(
    {
        "messages",
        "model",
        "prompt",
        "input",
        "frequency_penalty",
        "presence_penalty",
        "logit_bias",
        "logprobs",
        "top_logprobs",
        "max_tokens",
        "max_completion_tokens",
        "n",
        "seed",
        "stop",
        "stream",
        "stream_options",
        "temperature",
        "top_p",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "response_format",
        "user",
        "metadata",
        "reasoning_effort",
        "store",
        "modalities",
        "audio",
        "prediction",
        "service_tier",
        "suffix",
        "echo",
        "best_of",
        "dimensions",
        "encoding_format",
    }
)
"""Arguments the SDK knows by name; others go through its `extra_body`."""


def curl(base: str, operation: str, body: Mapping[str, Any]) -> str:
    """A curl command; the key stays a variable."""
    data = shlex.quote(json.dumps(body, ensure_ascii=False))
    return (
        f"curl {shlex.quote(base + _PATHS[operation])} \\\n"
        '  -H "authorization: Bearer $LOOPWRIGHT_API_KEY" \\\n'
        "  -H 'content-type: application/json' \\\n"
        f"  -d {data}"
    )


def python(base: str, operation: str, body: Mapping[str, Any]) -> str:
    """A program with the openai SDK; the key stays a variable."""
    known = {name: value for name, value in body.items() if name in _SDK}
    other = {name: value for name, value in body.items() if name not in _SDK}
    if other:
        known["extra_body"] = other
    arguments = "".join(f"    {name}={_literal(value)},\n" for name, value in known.items())
    show = (
        "for chunk in answer:\n    print(chunk.choices[0].delta.content or '' if chunk.choices else '', end='')\n"
        if body.get("stream") and operation == "chat"
        else "print(answer)\n"
    )
    return (
        "import os\n\nfrom openai import OpenAI\n\n"
        f"client = OpenAI(base_url={base!r}, api_key=os.environ['LOOPWRIGHT_API_KEY'])\n"
        f"answer = client.{_METHODS[operation]}.create(\n{arguments})\n{show}"
    )


def first_call(base: str, model: str) -> str:
    """What to type when nothing has been called yet."""
    return curl(base, "chat", {"model": model, "messages": [{"role": "user", "content": "Say hello."}]})


def _literal(value: object) -> str:
    return pprint.pformat(value, width=100, sort_dicts=False).replace("\n", "\n    ")
