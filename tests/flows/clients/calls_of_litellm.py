"""LiteLLM as a client: chats, streams, tools, vectors, Anthropic's dialect, Responses, and errors as its own kinds."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

import litellm

BASE = os.environ["OPENAI_BASE_URL"]
HOUSE: dict[str, Any] = {"api_base": BASE, "api_key": os.environ["OPENAI_API_KEY"], "num_retries": 0, "timeout": 120}
CLAUDE = {**HOUSE, "api_base": BASE.removesuffix("/v1")}
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def said(text: str) -> list[dict[str, str]]:
    """A conversation of one message."""
    return [{"role": "user", "content": text}]


def cities(answer: Any) -> list[str]:
    """Where the weather was asked for."""
    return [json.loads(call.function.arguments)["city"] for call in answer.choices[0].message.tool_calls]


def pieces(model: str, where: dict[str, Any]) -> str:
    """A stream's text."""
    stream: Any = litellm.completion(model=model, messages=said("one two three"), stream=True, max_tokens=9, **where)
    return "".join(chunk.choices[0].delta.content or "" for chunk in stream)


def refused(model: str) -> str:
    """The kind of error that a call ends with."""
    try:
        litellm.completion(model=model, messages=said("busy"), **HOUSE)
    except litellm.exceptions.APIError as problem:
        return type(problem).__name__
    except Exception as problem:  # noqa: BLE001 - its errors have no common root but OpenAI's
        return type(problem).__name__
    return ""


def main() -> None:
    """Everything, as one JSON object."""
    whole: Any = litellm.completion(model="openai/script", messages=said("one two"), **HOUSE)
    tools: Any = litellm.completion(model="openai/script", messages=said("the weather?"), tools=[TOOL], **HOUSE)
    claude: Any = litellm.completion(
        model="anthropic/script", messages=said("the weather?"), tools=[TOOL], max_tokens=99, **CLAUDE
    )
    later: Any = asyncio.run(litellm.acompletion(model="openai/script", messages=said("later"), **HOUSE))
    vectors: Any = litellm.embedding(model="openai/all-minilm-l6-v2", input=["one", "two"], **HOUSE)
    response: Any = litellm.responses(model="openai/script", input="three", **HOUSE)
    found = {
        "whole": [whole.choices[0].message.content, whole.usage.prompt_tokens, whole.usage.completion_tokens],
        "later": later.choices[0].message.content,
        "streams": [pieces("openai/script", HOUSE), pieces("anthropic/script", CLAUDE)],
        "tools": [cities(tools), cities(claude)],
        "vectors": [len(one["embedding"]) for one in vectors.data],
        "response": response.output[0].content[0].text,
        "errors": [refused("openai/scripd"), refused("openai/script")],
    }
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
