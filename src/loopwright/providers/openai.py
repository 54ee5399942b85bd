"""Any OpenAI-compatible URL. What nobody changed passes through byte for byte; events are checked as they pass."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import Any, Final, NoReturn
from urllib.parse import quote, urljoin

import msgspec
from msgspec.structs import replace

from loopwright.core.chat import Chat, Delta, Operation, Request
from loopwright.core.errors import SettingsError, UpstreamBroke
from loopwright.kit import reranking
from loopwright.kit.dialects.foreign import plain
from loopwright.kit.http import Answer, HttpClient, Reply
from loopwright.kit.settings import ProviderSettings
from loopwright.kit.sse import Splitter
from loopwright.kit.wire import with_fields
from loopwright.providers.openai_errors import complaint_in, failure, scrubbed
from loopwright.providers.openai_stream import Stream, usage_in
from loopwright.providers.pictures import Pictures, may_point
from loopwright.providers.presets import accepting, changes_for, completed, preset_of
from loopwright.providers.rerank import Gathered, questions

_PATHS: Final[Mapping[Operation, str]] = {
    "chat": "/chat/completions",
    "completion": "/completions",
    "embeddings": "/embeddings",
    "moderations": "/moderations",
}
_ARGS: Final = frozenset({"accepts", "proxy", "done_optional", "include_usage", "private_images", "verify"})


class _Body(msgspec.Struct, gc=False):
    """The members of a whole answer that we look at; the rest is only checked to be JSON."""

    choices: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    results: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    usage: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    error: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Model(msgspec.Struct):
    id: str


class _Models(msgspec.Struct):
    data: list[_Model]


_BODY: Final = msgspec.json.Decoder(_Body)
_MODELS: Final = msgspec.json.Decoder(_Models)


class OpenAICompatible:
    """A provider that speaks OpenAI's dialect."""

    def __init__(self, name: str, settings: ProviderSettings) -> None:
        """What a preset says stands under what `settings` say.

        What `settings.args` may hold. `accepts`: which of the members that only some upstreams accept go there, in
        place of what the preset says (none: a strict one). `proxy`: URL of an HTTP proxy. `done_optional`: a stream that
        closes cleanly after a finish reason is whole without `[DONE]`. `include_usage` (default true): ask for usage at the end of streams; false for upstreams
        that refuse `stream_options`. `private_images` (default false): images that a request points at by URL are left
        to an upstream inside our network, which may then fetch them from there. `verify` (default true): check TLS certificates.

        Raises:
            SettingsError: no `base_url`, or an argument is unknown or of the wrong type.
        """
        preset = preset_of(name, settings)
        settings = completed(name, settings)
        if settings.base_url is None:
            raise SettingsError(f"providers.{name}.base_url is missing: the URL up to and with /v1")
        for arg in settings.args.keys() - _ARGS:
            raise SettingsError(f"providers.{name}.args.{arg} is not known; there are: {', '.join(sorted(_ARGS))}")
        self.name = name
        self._ask_usage = _flag(name, settings.args, "include_usage", default=preset.include_usage)
        self._done_optional = _flag(name, settings.args, "done_optional", default=preset.done_optional)
        self._change = changes_for(accepting(name, settings.args, preset), name)
        self._path = preset.path
        proxy = settings.args.get("proxy")
        if proxy is not None and not isinstance(proxy, str):
            raise SettingsError(f"providers.{name}.args.proxy must be a URL")
        headers = {"content-type": "application/json", **{k.lower(): v for k, v in settings.headers.items()}}
        if settings.api_key:
            headers.setdefault(*preset.credentials(settings.api_key))
        self._secrets = (settings.api_key or "", *settings.headers.values())
        verify = _flag(name, settings.args, "verify", default=True)
        self._pictures = None if _flag(name, settings.args, "private_images", default=False) else Pictures()
        local = settings.link_local
        base_url = _with_query(settings.base_url, preset.query)
        self._http = HttpClient(
            base_url=base_url, headers=headers, timeouts=settings.timeouts, verify=verify, proxy=proxy, link_local=local
        )
        self._rerank = preset.rerank
        self._reranker = self._http
        if preset.rerank.root:
            root = urljoin(settings.base_url, "/")
            self._reranker = HttpClient(
                base_url=root, headers=headers, timeouts=settings.timeouts, verify=verify, proxy=proxy, link_local=local
            )

    def chat(self, upstream_model: str, /) -> Chat:
        """A Chat that asks `upstream_model`. Raises as `Provider.chat` says."""

        def ask(request: Request, /) -> AsyncGenerator[Delta, None]:
            return self._streamed(request, upstream_model) if request.stream else self._once(request, upstream_model)

        return ask

    async def models(self) -> list[str]:
        """The names upstream offers, sorted."""
        reply = await self._http.request("GET", "/models")
        if not 200 <= reply.status < 300:
            raise failure(self.name, reply.status, reply.headers, reply.body, secrets=self._secrets)
        try:
            return sorted({model.id for model in _MODELS.decode(reply.body).data})
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise UpstreamBroke(f"provider {self.name!r} does not list its models as OpenAI does") from None

    async def close(self) -> None:
        """Close every connection."""
        await self._http.close()
        await self._reranker.close()

    def _body(self, request: Request, upstream_model: str) -> bytes:
        body = self._written(request, upstream_model)
        if request.privacy is not None:
            request.privacy.sent(body)
        return body

    def _written(self, request: Request, upstream_model: str) -> bytes:
        changes: dict[str, Any] = {}
        if request.model != upstream_model:
            changes["model"] = upstream_model
        if request.stream and self._ask_usage and not request.wants_usage:
            options: Mapping[str, Any] = {}
            if request.raw is None or b'"stream_options"' in request.raw:
                options = request.body.get("stream_options") or {}
            changes["stream_options"] = {**options, "include_usage": True}
        changed = None if self._change is None else self._change(request.raw, request.body)
        if changed is not None or request.raw is None:
            return msgspec.json.encode({**(changed or request.body), **changes})
        raw = request.raw if request.aside is None else plain(request.raw)  # asked in another dialect
        return with_fields(raw, **changes) if changes else raw

    def _at(self, operation: Operation, model: str) -> str:
        path = _PATHS[operation]
        if self._path == "{path}":
            return path
        return self._path.format(path=path, model=quote(model, safe=""))

    def _whole(self, reply: Reply, operation: Operation, model: str) -> Delta:
        if not 200 <= reply.status < 300:
            raise failure(self.name, reply.status, reply.headers, reply.body, secrets=self._secrets)
        try:
            if not reply.body.isascii():
                reply.body.decode()  # the decoder does not look into what it skips
            body = _BODY.decode(reply.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            self._not_an_answer(reply.headers, reply.body)
        contents = {"embeddings": body.data, "moderations": body.results}
        content = contents.get(operation, body.choices)
        if content is msgspec.UNSET:
            self._not_an_answer(reply.headers, reply.body)
        return Delta(raw=reply.body, usage=usage_in(body.usage), done=True, model=model, provider=self.name)

    async def _check_head(self, answer: Answer) -> None:
        """Raise what a stream's head, and then its body, says instead of a stream."""
        headers = answer.headers
        if not 200 <= answer.status < 300:
            body = await answer.read()
            raise failure(self.name, answer.status, headers, body, secrets=self._secrets)
        kind = headers.get("content-type", "").lower()
        if headers.get("content-encoding", "identity").lower() != "identity" or "json" in kind or "html" in kind:
            self._not_an_answer(headers, await answer.read())

    async def _once(self, request: Request, model: str) -> AsyncGenerator[Delta, None]:
        if request.operation == "rerank":
            yield await self._ranked(request, model)
            return
        if self._pictures is not None and may_point(request.raw):
            request = await self._with_images(request, self._pictures)
        path = self._at(request.operation, model)
        yield self._whole(await self._http.request("POST", path, self._body(request, model)), request.operation, model)

    async def _with_images(self, request: Request, pictures: Pictures) -> Request:
        """The images themselves instead of where they are, for an upstream that would look for them inside the house."""
        if request.operation != "chat" or not pictures.pointed(request.body) or not await self._http.inside():
            return request
        body = await pictures.inlined(request.body)
        return replace(request, body=body, raw=msgspec.json.encode(body))

    async def _ranked(self, request: Request, model: str) -> Delta:
        """The documents by relevance; in parts, where this place takes only so many at once."""
        asked = reranking.asked(request.body)
        gathered = Gathered(asked)
        for start, body in questions(request.body, asked, self._rerank, model):
            if request.privacy is not None:
                request.privacy.sent(body)
            reply = await self._reranker.request("POST", self._rerank.path, body)
            if not 200 <= reply.status < 300:
                raise failure(self.name, reply.status, reply.headers, reply.body, secrets=self._secrets)
            try:
                gathered.take(start, min(self._rerank.batch or len(asked.texts), len(asked.texts) - start), reply.body)
            except UpstreamBroke as error:
                raise UpstreamBroke(f"provider {self.name!r}: {error.message}") from None
        raw, usage = gathered.whole(model)
        return Delta(raw=raw, usage=usage, done=True, model=model, provider=self.name)

    async def _streamed(self, request: Request, model: str) -> AsyncGenerator[Delta, None]:
        if self._pictures is not None and may_point(request.raw):
            request = await self._with_images(request, self._pictures)
        answer = await self._http.stream("POST", self._at(request.operation, model), self._body(request, model))
        try:
            await self._check_head(answer)
            splitter = Splitter()
            stream = Stream(
                provider=self.name,
                model=model,
                keeps_usage=request.wants_usage,
                done_optional=self._done_optional,
                secrets=self._secrets,
            )
            async for piece in answer:
                whole = splitter.feed(piece)
                if not whole:
                    continue
                delta = stream.take(whole)
                if stream.done:
                    answer.settle()
                if delta is not None:
                    yield delta
                if stream.done:
                    return
                if stream.problem is not None:
                    raise stream.problem
            delta = stream.end(splitter.rest)
            if delta is not None:
                yield delta
            if stream.problem is not None:
                raise stream.problem
        finally:
            await answer.aclose()

    def _not_an_answer(self, headers: Mapping[str, str], body: bytes) -> NoReturn:
        encoding = headers.get("content-encoding", "identity").lower()
        complaint = complaint_in(body)
        if encoding != "identity":
            what = f"content-encoding {encoding}, though none was asked for"
        elif complaint is not None:
            what = f"an error under HTTP 200: {scrubbed(complaint.message, self._secrets)}"
        elif body.lstrip()[:1] == b"<":
            what = "an HTML page instead of an answer: check its base_url"
        else:
            kind = headers.get("content-type", "no content type")
            what = f"what is not an answer in OpenAI's form ({kind}, {len(body)} bytes)"
        raise UpstreamBroke(f"provider {self.name!r} sent {what}")


def _flag(name: str, args: Mapping[str, object], arg: str, *, default: bool) -> bool:
    value = args.get(arg, default)
    if not isinstance(value, bool):
        raise SettingsError(f"providers.{name}.args.{arg} must be true or false, not {value!r}")
    return value


def _with_query(url: str, query: str) -> str:
    """The URL with a query of the preset's, unless it has its own."""
    return url if not query or "?" in url else f"{url}?{query}"
