"""What a response repeats of its question, read back from the canonical body: the same at once and from the record. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from loopwright.kit.wire_read import dicts


def echo(body: Mapping[str, Any], aside: Mapping[str, Any]) -> dict[str, Any]:
    """The members of a response that say what was asked; `aside` is what only the Responses dialect knew."""
    tools = aside.get("tools", body.get("tools"))
    return {
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": _instructions(body) if aside.get("instructions") else None,
        "max_output_tokens": body.get("max_completion_tokens") or body.get("max_tokens"),
        "max_tool_calls": None,
        "metadata": aside.get("metadata", {}),
        "model": body.get("model", ""),
        "parallel_tool_calls": body.get("parallel_tool_calls") is not False,
        "previous_response_id": aside.get("previous_response_id"),
        "prompt_cache_key": body.get("prompt_cache_key"),
        "reasoning": {"effort": body.get("reasoning_effort"), "summary": aside.get("summary")},
        "safety_identifier": body.get("safety_identifier"),
        "service_tier": body.get("service_tier") or "default",
        "store": aside.get("store", True),
        "temperature": body.get("temperature", 1.0),
        "text": {"format": _format(body.get("response_format")), "verbosity": body.get("verbosity") or "medium"},
        "tool_choice": aside.get("tool_choice") or _choice(body.get("tool_choice")),
        "tools": [_tool(tool, aside.get("custom") or {}) for tool in dicts(tools)],
        "top_logprobs": body.get("top_logprobs") or 0,
        "top_p": body.get("top_p", 1.0),
        "truncation": "disabled",
        "user": body.get("user"),
    }


def _instructions(body: Mapping[str, Any]) -> Any:
    return next((message.get("content") for message in dicts(body.get("messages"))), None)


def _format(form: Any) -> dict[str, Any]:
    if not isinstance(form, dict) or not isinstance(form.get("type"), str):
        return {"type": "text"}
    held = form.get("json_schema")
    if form["type"] != "json_schema" or not isinstance(held, dict):
        return {"type": form["type"]}
    return {"type": "json_schema", "description": None, "strict": None, **held}


def _choice(choice: Any) -> Any:
    if isinstance(choice, dict):
        function = choice.get("function")
        return {"type": "function", "name": function.get("name")} if isinstance(function, dict) else choice
    return choice or "auto"


def _tool(tool: Mapping[str, Any], custom: Mapping[str, Any]) -> dict[str, Any]:
    function = tool.get("function")
    if not isinstance(function, dict):
        return dict(tool)
    if function.get("name") in custom:
        return dict(custom[function["name"]])
    return {"type": "function", "description": None, "parameters": None, "strict": None, **function}
