"""Anthropic's own API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from loopwright.core.chat import Delta
from loopwright.core.errors import BadRequest, LoopwrightError, SettingsError
from loopwright.kit.settings import ProviderSettings
from loopwright.providers.anthropic_answer import Events, complaint, whole
from loopwright.providers.anthropic_request import messages
from loopwright.providers.native import Native, Question, wait_of
from loopwright.providers.presets import completed

_VERSION: Final = "2023-06-01"
_UNSAMPLED: Final = "2026-10-21"
"""From this version on, sampling parameters are refused."""
_ARGS: Final = frozenset({"version", "beta", "max_tokens", "body", "proxy", "verify", "private_images"})


def anthropic(name: str, settings: ProviderSettings) -> Native:
    """A provider that speaks Anthropic's Messages. What `settings.args` may hold.

    `version`: of the API (2023-06-01; from 2026-10-21 on it takes no temperature). `beta`: names for `anthropic-beta`,
    by comma. `max_tokens`: of answers whose client names no limit. `body`: members put into every request. `proxy`,
    `verify`: as for `openai`.

    Raises:
        SettingsError: no key, or an argument is unknown or of the wrong type.
    """
    settings = completed(name, settings)
    args = settings.args
    check_args(name, args, _ARGS)
    version, beta, limit = args.get("version", _VERSION), args.get("beta", ""), args.get("max_tokens")
    if not isinstance(version, str) or not isinstance(beta, str) or not isinstance(limit, int | None):
        raise SettingsError(f"providers.{name}.args: version and beta are texts, max_tokens is a number")
    headers = {"anthropic-version": version}
    if beta:
        headers["anthropic-beta"] = beta
    if settings.api_key:
        headers["x-api-key"] = settings.api_key
    elif "authorization" not in {key.lower() for key in settings.headers}:
        raise SettingsError(f"providers.{name}.api_key is missing")
    return Native(name, settings, Dialect(version=version, limit=limit, more=extra_body(name, args)), headers=headers)


class Dialect:
    """How Anthropic speaks."""

    framed = False
    takes_urls = True

    def __init__(
        self, *, version: str = _VERSION, limit: int | None = None, more: Mapping[str, Any] | None = None
    ) -> None:
        self._plain = version < _UNSAMPLED
        self._limit = limit
        self._more = more or {}

    def ask(self, body: Mapping[str, Any], model: str, *, stream: bool) -> Question:
        """`POST /v1/messages`."""
        asked = messages(body, model, limit=self._limit, plain=self._plain)
        asked.update(self._more)
        if stream:
            asked["stream"] = True
        return Question(path="/v1/messages", body=msgspec.json.encode(asked))

    def embed(self, body: Mapping[str, Any], model: str) -> list[Question]:  # noqa: ARG002 - as every dialect's
        """There are none."""
        raise BadRequest("Anthropic has no embeddings", param="model")

    def list_models(self) -> Question:
        """`GET /v1/models`."""
        return Question(method="GET", path="/v1/models?limit=1000")

    def whole(self, answer: Mapping[str, Any]) -> list[Delta]:
        """A message."""
        return whole(answer)

    def reader(self) -> Events:
        """For one stream."""
        return Events()

    def vectors(self, answer: Mapping[str, Any], headers: Mapping[str, str]) -> tuple[list[list[float]], int | None]:  # noqa: ARG002
        """There are none."""
        return [], None

    def names(self, answer: Mapping[str, Any]) -> list[str]:
        """`data[].id`."""
        return [str(model["id"]) for model in answer.get("data") or ()]

    def complaint(self, body: Mapping[str, Any], headers: Mapping[str, str], status: int) -> LoopwrightError | None:
        """`{"type": "error", "error": {"type", "message"}}`."""
        error = body.get("error")
        if not isinstance(error, Mapping):
            return None
        message = str(error.get("message") or "no reason was given")
        return complaint(str(error.get("type") or ""), message, status=status, wait=wait_of(headers))


def check_args(name: str, args: Mapping[str, object], known: frozenset[str]) -> None:
    """Raise SettingsError for an argument that is not known."""
    for arg in args.keys() - known:
        raise SettingsError(f"providers.{name}.args.{arg} is not known; there are: {', '.join(sorted(known))}")


def extra_body(name: str, args: Mapping[str, object]) -> dict[str, Any]:
    """The members of `args.body`. Raises SettingsError when it is no mapping."""
    more = args.get("body") or {}
    if not isinstance(more, Mapping):
        raise SettingsError(f"providers.{name}.args.body must be a mapping: what to put into every request")
    return dict(more)
