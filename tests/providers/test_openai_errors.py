"""What upstreams' failures mean."""

from __future__ import annotations

import json
from typing import Any

import pytest

from loopwright.core.errors import (
    BadRequest,
    Busy,
    ContextOverflow,
    LoopwrightError,
    TooLarge,
    UpstreamError,
    UpstreamRefused,
)
from loopwright.providers.openai_errors import failure, retry_after

NOW = 1_800_000_000.0


def told(status: int, body: Any, **headers: str) -> LoopwrightError:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return failure("far", status, headers, raw, secrets=("sk-secret", ""))


@pytest.mark.parametrize(
    ("status", "body", "error", "message"),
    [
        (400, {"error": {"message": "no n", "param": "n"}}, BadRequest, "no n"),
        (422, {"error": {"message": "no n", "param": "n"}}, BadRequest, "no n"),
        (413, {"error": {"message": "big", "param": "n"}}, TooLarge, "big"),
        (413, b"", TooLarge, "too large"),
        (400, {"error": {"message": "long", "code": "context_length_exceeded"}}, ContextOverflow, "long"),
        (400, {"error": {"message": "l", "code": 400, "type": "exceed_context_size_error"}}, ContextOverflow, "l"),
        (400, [{"error": {"message": "API key sk-secret"}}], BadRequest, "API key ***"),
        (400, {"object": "error", "message": "old vllm", "code": 40001}, BadRequest, "old vllm"),
        (400, {"error": "ollama"}, UpstreamRefused, "ollama"),
        (400, b"<html>", UpstreamRefused, "HTML"),
        (422, {"detail": [{"loc": ["body"]}]}, UpstreamRefused, "loc"),
        (401, {"error": {"message": "Incorrect API key sk-sec***"}}, UpstreamRefused, "providers.far.api_key"),
        (403, b"", UpstreamRefused, "HTTP 403"),
        (404, {"error": {"message": "no such model"}}, UpstreamRefused, "no such model"),
        (402, {"error": {"message": "pay"}}, UpstreamRefused, "pay"),
        (307, b"", UpstreamRefused, "redirect"),
        (429, {"error": {"message": "slow down"}}, Busy, "slow down"),
        (500, {"error": {"message": "oops"}}, UpstreamError, "oops"),
        (503, b"", UpstreamError, "an empty body"),
        (529, b"\xff\xfe", UpstreamError, "HTTP 529"),
    ],
)
def test_each_status(status: int, body: Any, error: type[LoopwrightError], message: str) -> None:
    found = told(status, body)
    assert type(found) is error
    assert message in found.message
    assert "sk-sec" not in found.message
    if isinstance(found, UpstreamError):
        assert found.upstream_status == status


def test_the_callers_param_is_kept() -> None:
    assert told(400, {"error": {"message": "no", "param": "tools[0]"}}).param == "tools[0]"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "3"}, 3.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": "Fri, 15 Jan 2027 08:00:10 GMT"}, 10.0),
        ({"retry-after": "Fri, 15 Jan 2021 08:00:10 GMT"}, 0.0),
        ({"retry-after": "-5"}, 0.0),
        ({"retry-after": "1e99"}, 86400.0),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
        ({}, None),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, now=NOW) == seconds
