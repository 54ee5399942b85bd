"""Keeps a request to the targets its policy allows; decides whether it is sensitive, and then who answers instead.

Stands before the cache and the routes: what may go nowhere is refused before anything is done for it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec
from msgspec import structs

from loopwright.core.chat import Chat, Delta, Request, answering
from loopwright.core.errors import Refused
from loopwright.core.privacy import ALL, Place, Privacy, Sensitive
from loopwright.gateway.gated import refusal
from loopwright.guardrails.span import Span
from loopwright.kit.wire import with_fields

Find = Callable[[str, frozenset[str] | None], Sequence[Span]]
"""What is personal in a text, of some kinds or (None) of all."""
_LONG: Final = 20_000
"""Characters that are searched beside the event loop."""
_POINTERS: Final = ("image_url", "audio_url", "video_url")
_DATA: Final = re.compile(r"data:[a-z]+/[a-z0-9.+-]+;base64,")


@dataclass(frozen=True, slots=True, kw_only=True)
class Confined:
    """Composed only where a policy is configured."""

    inner: Chat
    places: Mapping[str, Sequence[Place]]
    """Of the targets of each name that can be called."""
    find: Find

    def __call__(self, request: Request) -> AsyncGenerator[Delta, None]:
        """Answer.

        Raises:
            Refused: the policy allows none of the model's targets.
        """
        privacy = request.privacy
        if privacy is None:
            return self.inner(request)
        sensitive = privacy.sensitive
        if sensitive is not None and not privacy.own_only:
            tag = sensitive.tagged(request.tags)
            if tag is not None:
                return self.inner(self._placed(request, _ours(privacy, f"tag {tag}")))
            if sensitive.pii:
                return self._searched(request, privacy, sensitive)
        return self.inner(self._placed(request, privacy))

    async def _searched(self, request: Request, privacy: Privacy, sensitive: Sensitive) -> AsyncGenerator[Delta, None]:
        texts = list(texts_of(request.body))
        long = sum(map(len, texts)) > _LONG
        kinds = await asyncio.to_thread(self._kinds, texts, sensitive) if long else self._kinds(texts, sensitive)
        if _holds_tokens(request.body):
            kinds.append("tokens, which nobody here can read")
        found = _ours(privacy, ", ".join(kinds)) if kinds else privacy
        async with answering(self.inner, self._placed(request, found)) as answer:
            async for delta in answer:
                yield delta

    def _kinds(self, texts: Sequence[str], sensitive: Sensitive) -> list[str]:
        wanted = None if ALL in sensitive.pii else sensitive.pii
        return sorted({span.kind for text in texts for span in self.find(text, wanted)})

    def _placed(self, request: Request, privacy: Privacy) -> Request:
        """The request as it may go on."""
        places = self.places.get(request.model)
        if privacy.confines and (request.raw is None or b"_url" in request.raw):
            _check_pointers(request.body, privacy)
        if places is not None and privacy.confines and not _any(privacy, places):
            instead = privacy.sensitive.model if privacy.own_only and privacy.sensitive is not None else None
            if instead is None or not _any(privacy, self.places.get(instead, ())):
                raise refusal(privacy, request.model, places, self._others(request, privacy))
            raw = msgspec.json.encode(request.body) if request.raw is None else request.raw
            body = {**request.body, "model": instead}
            return structs.replace(
                request, model=instead, body=body, raw=with_fields(raw, model=instead), privacy=privacy
            )
        return request if privacy is request.privacy else structs.replace(request, privacy=privacy)

    def _others(self, request: Request, privacy: Privacy) -> list[str]:
        return [name for name, places in self.places.items() if request.who.may_call(name) and _any(privacy, places)]


def texts_of(body: Mapping[str, Any]) -> Iterator[str]:
    """Every text in a question, wherever it stands; pictures and other data in base64 are no texts."""
    held = list(body.values())
    while held:
        value = held.pop()
        if isinstance(value, str):
            if value and not _DATA.match(value):
                yield value
        elif isinstance(value, Mapping):
            held.extend(value.values())
        elif isinstance(value, list):
            held.extend(value)


def _holds_tokens(body: Mapping[str, Any]) -> bool:
    """Whether a text is given as the numbers of its tokens."""
    return any(
        isinstance(value, list) and bool(value) and not isinstance(value[0], str | Mapping)
        for value in (body.get("prompt"), body.get("input"))
    )


def _check_pointers(body: Mapping[str, Any], privacy: Privacy) -> None:
    """An image by its URL is fetched from wherever that leads, which no policy knows.

    Raises:
        Refused: there is one.
    """
    for at, message in enumerate(body.get("messages") or ()):
        content = message.get("content")
        for number, part in enumerate(content if isinstance(content, list) else ()):
            for kind in _POINTERS:
                pointer = part.get(kind)
                url = pointer.get("url") if isinstance(pointer, Mapping) else pointer
                if isinstance(url, str) and url[:5].lower() != "data:":
                    where = f"messages[{at}].content[{number}].{kind}"
                    raise Refused(
                        f"{where}: {' and '.join(privacy.sources)} does not let anything be fetched for this request: "
                        "send the data itself, as a data: URL",
                        param=where,
                    )


def _any(privacy: Privacy, places: Sequence[Place]) -> bool:
    return any(privacy.allows(place) for place in places)


def _ours(privacy: Privacy, because: str) -> Privacy:
    return replace(privacy, own_only=True, because=because)
