"""Google's Gemini API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

import msgspec

from loopwright.core.chat import Delta
from loopwright.core.errors import LoopwrightError, SettingsError
from loopwright.kit.settings import ProviderSettings
from loopwright.providers.anthropic import check_args, extra_body
from loopwright.providers.gemini_answer import Events, complaint, vectors, whole
from loopwright.providers.gemini_request import content, embeddings
from loopwright.providers.native import Native, Question, wait_of
from loopwright.providers.presets import completed

_ARGS: Final = frozenset({"body", "proxy", "verify", "private_images"})


def gemini(name: str, settings: ProviderSettings) -> Native:
    """A provider that speaks Gemini's generateContent; behind Vertex by `base_url` and an `authorization` header.

    `settings.args` may hold `body` (members put into every request, e.g. `safetySettings`), `private_images` (true:
    images may be fetched from private addresses), `proxy` and `verify`.

    Raises:
        SettingsError: no key, or an argument is unknown or of the wrong type.
    """
    settings = completed(name, settings)
    check_args(name, settings.args, _ARGS)
    headers: dict[str, str] = {}
    if settings.api_key:
        headers["x-goog-api-key"] = settings.api_key
    elif "authorization" not in {key.lower() for key in settings.headers}:
        raise SettingsError(f"providers.{name}.api_key is missing")
    return Native(name, settings, Dialect(extra_body(name, settings.args)), headers=headers)


class Dialect:
    """How Gemini speaks."""

    framed = False
    takes_urls = False

    def __init__(self, more: Mapping[str, Any] | None = None) -> None:
        self._more = more or {}

    def ask(self, body: Mapping[str, Any], model: str, *, stream: bool) -> Question:
        """`:generateContent`, or `:streamGenerateContent` as server-sent events."""
        verb = "streamGenerateContent?alt=sse" if stream else "generateContent"
        asked = {**content(body, model), **self._more}
        return Question(path=f"/models/{quote(model, safe='')}:{verb}", body=msgspec.json.encode(asked))

    def embed(self, body: Mapping[str, Any], model: str) -> list[Question]:
        """`:batchEmbedContents`."""
        asked = msgspec.json.encode(embeddings(body, model))
        return [Question(path=f"/models/{quote(model, safe='')}:batchEmbedContents", body=asked)]

    def list_models(self) -> Question:
        """`GET /models`."""
        return Question(method="GET", path="/models?pageSize=1000")

    def whole(self, answer: Mapping[str, Any]) -> list[Delta]:
        """Its candidates."""
        return whole(answer)

    def reader(self) -> Events:
        """For one stream."""
        return Events()

    def vectors(self, answer: Mapping[str, Any], headers: Mapping[str, str]) -> tuple[list[list[float]], int | None]:  # noqa: ARG002
        """Gemini counts no tokens of embeddings."""
        return vectors(answer), None

    def names(self, answer: Mapping[str, Any]) -> list[str]:
        """`models[].name`, without `models/`."""
        return [str(model["name"]).removeprefix("models/") for model in answer.get("models") or ()]

    def complaint(self, body: Mapping[str, Any], headers: Mapping[str, str], status: int) -> LoopwrightError | None:
        """`{"error": {"code", "message", "status", "details"}}`."""
        error = body.get("error")
        if not isinstance(error, Mapping):
            return None
        return complaint(error, status=status, wait=wait_of(headers))
