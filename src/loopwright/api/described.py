"""What `/v1` takes and gives, for `/api/openapi.json`: the shapes of questions come from the decoders that check them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from fastapi import FastAPI

from loopwright.api import batches
from loopwright.core.chat import Operation
from loopwright.kit import moderating, reranking, wire
from loopwright.kit.dialects import messages_in, responses_in

_OPENAI: Final = "Error"
_ANTHROPIC: Final = "AnthropicError"
_TEXT: Final = {"type": "string"}
_COUNT: Final = {"type": "integer", "minimum": 0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """One route of `/v1` that takes a JSON body."""

    path: str
    name: str
    """Of its shapes in the document."""
    about: str
    body: type
    """What its decoder makes of a body."""
    members: tuple[str, ...]
    """What an answer has at least."""
    streams: bool = False
    error: str = _OPENAI


def _openai(operation: Operation) -> type:
    return wire.body_of(operation)


ROUTES: Final[tuple[Described, ...]] = (
    Described(
        path="/v1/chat/completions",
        name="Chat",
        about="Answer a conversation, whole or as server-sent events.",
        body=_openai("chat"),
        members=("id", "object", "created", "model", "choices"),
        streams=True,
    ),
    Described(
        path="/v1/completions",
        name="Completion",
        about="Continue a prompt, whole or as server-sent events.",
        body=_openai("completion"),
        members=("id", "object", "created", "model", "choices"),
        streams=True,
    ),
    Described(
        path="/v1/embeddings",
        name="Embeddings",
        about="Vectors of texts.",
        body=_openai("embeddings"),
        members=("object", "data", "model"),
    ),
    Described(
        path="/v1/rerank",
        name="Rerank",
        about="Documents by relevance.",
        body=reranking.Body,
        members=("results",),
    ),
    Described(
        path="/v1/moderations",
        name="Moderation",
        about="Judge texts, by our own guardrails unless a model is named.",
        body=moderating.Body,
        members=("id", "model", "results"),
    ),
    Described(
        path="/v1/batches",
        name="Batch",
        about="Answer the lines of a file within a day.",
        body=batches.NEW,
        members=("id", "object", "endpoint", "status", "input_file_id"),
    ),
    Described(
        path="/v1/responses",
        name="Response",
        about="Answer in the form of OpenAI's Responses, with a memory.",
        body=responses_in.BODY,
        members=("id", "object", "created_at", "status", "model", "output"),
        streams=True,
    ),
    Described(
        path="/v1/messages",
        name="Message",
        about="Answer a conversation in Anthropic's form.",
        body=messages_in.BODY,
        members=("id", "type", "role", "model", "content", "stop_reason", "usage"),
        streams=True,
        error=_ANTHROPIC,
    ),
    Described(
        path="/v1/messages/count_tokens",
        name="Counted",
        about="The tokens of a conversation before it is asked.",
        body=messages_in.COUNTED,
        members=("input_tokens",),
        error=_ANTHROPIC,
    ),
)


def describe(api: FastAPI) -> None:
    """Let the document of `api` tell of `/v1` too."""
    written = api.openapi

    def openapi() -> dict[str, Any]:
        document = written()
        paths: dict[str, Any] = document["paths"]
        if ROUTES[0].path not in paths:
            shapes: dict[str, Any] = document.setdefault("components", {}).setdefault("schemas", {})
            shapes.update(_ERRORS)
            for route in ROUTES:
                asked = _shapes(route, shapes)
                paths[route.path] = {"post": _operation(route, asked)}
            for path, methods in _READ.items():
                paths.setdefault(path, {}).update(methods)
        return document

    api.openapi = openapi  # type: ignore[method-assign]  # FastAPI's own way to change the document


def _shapes(route: Described, into: dict[str, Any]) -> Mapping[str, Any]:
    """The schema of a body; what it refers to goes `into` the components."""
    [asked], parts = msgspec.json.schema_components([route.body], ref_template="#/components/schemas/{name}")
    text = json.dumps([asked, parts])
    for part in sorted(parts, key=len, reverse=True):
        text = text.replace(f'schemas/{part}"', f'schemas/{_named(route, part)}"')
    asked, parts = json.loads(text)
    into.update({_named(route, part): shape for part, shape in parts.items()})
    return dict(asked)


def _named(route: Described, part: str) -> str:
    """The name of a shape in the document; that of the body itself is the route's."""
    short = part.rpartition(".")[2].lstrip("_")
    return f"{route.name}{'Request' if short == route.body.__name__.lstrip('_') else short}"


def _operation(route: Described, asked: Mapping[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = {"application/json": {"schema": {"type": "object", "required": list(route.members)}}}
    if route.streams:
        answer["text/event-stream"] = {"schema": _TEXT}
    failed = {"description": "What went wrong.", "content": {"application/json": {"schema": _ref(route.error)}}}
    return {
        "tags": ["models"],
        "summary": route.about,
        "operationId": f"ask_{route.name.lower()}",
        "security": [{"HTTPBearer": []}],
        "requestBody": {"required": True, "content": {"application/json": {"schema": asked}}},
        "responses": {"200": {"description": "The answer.", "content": answer}, "4XX": failed, "5XX": failed},
    }


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(*, required: tuple[str, ...], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": list(required), "properties": properties}


def _reading(about: str, answer: dict[str, Any], *parameters: dict[str, Any]) -> dict[str, Any]:
    failed = {"description": "What went wrong.", "content": {"application/json": {"schema": _ref(_OPENAI)}}}
    return {
        "tags": ["models"],
        "summary": about,
        "security": [{"HTTPBearer": []}],
        "parameters": list(parameters),
        "responses": {
            "200": {"description": "Done.", "content": {"application/json": {"schema": answer}}},
            "4XX": failed,
            "5XX": failed,
        },
    }


def _named_in(where: str, name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": where, "required": where == "path", "schema": schema}


def _page(about: str, most: int, *more: dict[str, Any]) -> dict[str, Any]:
    limit = _named_in("query", "limit", {"type": "integer", "minimum": 1, "maximum": most})
    return _reading(about, _LIST, limit, _named_in("query", "after", _TEXT), *more)


def _form(about: str, answer: dict[str, Any], shape: dict[str, Any]) -> dict[str, Any]:
    body = {"required": True, "content": {"multipart/form-data": {"schema": shape}}}
    return {**_reading(about, answer), "requestBody": body}


_NULLABLE: Final = {"type": ["string", "null"]}
_MODEL: Final = _object(
    required=("id", "object", "created", "owned_by"), id=_TEXT, object=_TEXT, created=_COUNT, owned_by=_TEXT
)
_ERRORS: Final[Mapping[str, Any]] = {
    _OPENAI: _object(
        required=("error",),
        error=_object(required=("message", "type"), message=_TEXT, type=_TEXT, code=_NULLABLE, param=_NULLABLE),
    ),
    _ANTHROPIC: _object(
        required=("type", "error"),
        type={"const": "error"},
        error=_object(required=("type", "message"), type=_TEXT, message=_TEXT),
        request_id=_TEXT,
    ),
}
_ANYTHING: Final = {"type": "object"}
_LIST: Final = _object(required=("object", "data"), object={"const": "list"}, data={"type": "array"})
_RESPONSE: Final = _named_in("path", "response_id", _TEXT)
_FILE: Final = _named_in("path", "file_id", _TEXT)
_BATCH: Final = _named_in("path", "batch_id", _TEXT)
_UPLOAD: Final = _object(
    required=("file", "purpose"), file={"type": "string", "format": "binary"}, purpose={"const": "batch"}
)
_READ: Final[Mapping[str, Mapping[str, Any]]] = {
    "/v1/models": {
        "get": _reading(
            "The models this key may call.",
            _object(required=("object", "data"), object={"const": "list"}, data={"type": "array", "items": _MODEL}),
        )
    },
    "/v1/models/{name}": {"get": _reading("One of them.", _MODEL, _named_in("path", "name", _TEXT))},
    "/v1/responses/{response_id}": {
        "get": _reading("What was answered, read from the record.", _ANYTHING, _RESPONSE),
        "delete": _reading("Forget it.", _ANYTHING, _RESPONSE),
    },
    "/v1/files": {
        "get": _page(
            "Files, newest first.",
            10_000,
            _named_in("query", "purpose", _TEXT),
            _named_in("query", "order", {"enum": ["asc", "desc"]}),
        ),
        "post": _form("Upload a file.", _ANYTHING, _UPLOAD),
    },
    "/v1/files/{file_id}": {
        "get": _reading("What is known of a file.", _ANYTHING, _FILE),
        "delete": _reading("Forget it.", _ANYTHING, _FILE),
    },
    "/v1/files/{file_id}/content": {"get": _reading("Its bytes.", {}, _FILE)},
    "/v1/batches": {"get": _page("Batches, newest first.", 100)},
    "/v1/batches/{batch_id}": {"get": _reading("How far a batch is.", _ANYTHING, _BATCH)},
    "/v1/batches/{batch_id}/cancel": {"post": _reading("End a batch early.", _ANYTHING, _BATCH)},
}
