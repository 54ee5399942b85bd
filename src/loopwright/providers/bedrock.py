"""AWS Bedrock: Converse for chats, `invoke` for embeddings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final
from urllib.parse import quote

import msgspec

from loopwright.core.chat import Delta
from loopwright.core.errors import LoopwrightError, SettingsError
from loopwright.kit.settings import ProviderSettings
from loopwright.providers.anthropic import check_args, extra_body
from loopwright.providers.aws_signing import Signature
from loopwright.providers.bedrock_answer import Events, complaint, vectors, whole
from loopwright.providers.bedrock_request import converse, embeddings
from loopwright.providers.native import Native, Question, wait_of
from loopwright.providers.presets import completed

_ARGS: Final = frozenset({"body", "max_tokens", "proxy", "verify", "private_images"})
_COUNTED: Final = "x-amzn-bedrock-input-token-count"


def bedrock(name: str, settings: ProviderSettings) -> Native:
    """A provider that speaks Bedrock's Converse: with `api_key` (a Bedrock API key), else signed (SigV4).

    Credentials are `aws_access_key_id` and `aws_secret_access_key`, else what AWS's own tools would find (environment,
    `aws_profile`, the machine's role). `settings.args` may hold `max_tokens` (of answers whose client names no limit),
    `body` (members put into every request), `private_images`, `proxy` and `verify`.

    Raises:
        SettingsError: no region, half a pair of keys, or an argument is unknown or of the wrong type.
    """
    settings = completed(name, settings)
    check_args(name, settings.args, _ARGS)
    limit = settings.args.get("max_tokens")
    if not isinstance(limit, int | None):
        raise SettingsError(f"providers.{name}.args.max_tokens must be a number")
    dialect = Dialect(limit=limit, more=extra_body(name, settings.args))
    listing = replace(settings, base_url=(settings.base_url or "").replace("//bedrock-runtime.", "//bedrock."))
    if settings.api_key:
        headers = {"authorization": f"Bearer {settings.api_key}"}
        return Bedrock(
            name, settings, dialect, headers=headers, listing=Native(name, listing, dialect, headers=headers)
        )
    lister = Native(name, listing, dialect, headers={}, sign=Signature(name, listing))
    return Bedrock(name, settings, dialect, headers={}, sign=Signature(name, settings), listing=lister)


class Bedrock(Native):
    """Two hosts: one answers, the other knows which models there are."""

    def __init__(
        self,
        name: str,
        settings: ProviderSettings,
        dialect: Dialect,
        *,
        headers: Mapping[str, str],
        listing: Native,
        sign: Signature | None = None,
    ) -> None:
        """`listing` is the same provider at the host that lists models."""
        super().__init__(name, settings, dialect, headers=headers, sign=sign)
        self._listing = listing

    async def models(self) -> list[str]:
        """The names upstream offers, sorted."""
        return await self._listing.models()

    async def close(self) -> None:
        """Close every connection."""
        await self._listing.close()
        await super().close()


class Dialect:
    """How Bedrock speaks."""

    framed = True
    takes_urls = False

    def __init__(self, *, limit: int | None = None, more: Mapping[str, Any] | None = None) -> None:
        self._limit = limit
        self._more = more or {}

    def ask(self, body: Mapping[str, Any], model: str, *, stream: bool) -> Question:
        """`/converse`, or `/converse-stream` as AWS frames."""
        asked = {**converse(body, model, limit=self._limit), **self._more}
        verb = "converse-stream" if stream else "converse"
        return Question(path=f"/model/{quote(model, safe='')}/{verb}", body=msgspec.json.encode(asked))

    def embed(self, body: Mapping[str, Any], model: str) -> list[Question]:
        """`/invoke`, once for each text or for each 96."""
        path = f"/model/{quote(model, safe='')}/invoke"
        return [Question(path=path, body=msgspec.json.encode(asked)) for asked in embeddings(body, model)]

    def list_models(self) -> Question:
        """`GET /foundation-models`."""
        return Question(method="GET", path="/foundation-models")

    def whole(self, answer: Mapping[str, Any]) -> list[Delta]:
        """A message."""
        return whole(answer)

    def reader(self) -> Events:
        """For one stream."""
        return Events()

    def vectors(self, answer: Mapping[str, Any], headers: Mapping[str, str]) -> tuple[list[list[float]], int | None]:
        """Titan counts tokens in the body, AWS in a header."""
        counted = answer.get("inputTextTokenCount", headers.get(_COUNTED))
        return vectors(answer), int(counted) if str(counted).isdigit() else None

    def names(self, answer: Mapping[str, Any]) -> list[str]:
        """`modelSummaries[].modelId`."""
        return [str(model["modelId"]) for model in answer.get("modelSummaries") or ()]

    def complaint(self, body: Mapping[str, Any], headers: Mapping[str, str], status: int) -> LoopwrightError | None:
        """`{"message"}` with its kind in a header."""
        kind = headers.get("x-amzn-errortype") or str(body.get("__type") or "")
        if not status and not kind:
            return None
        message = body.get("message") or body.get("Message") or "no reason was given"
        return complaint(kind, str(message), status=status, wait=wait_of(headers))
