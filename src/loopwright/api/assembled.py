"""Routes of the management REST put together as one application: how its errors read, what its document says."""

from __future__ import annotations

from collections.abc import Iterable

from fastapi import APIRouter, FastAPI

from loopwright import __version__
from loopwright.api.asking import say_errors
from loopwright.api.described import describe
from loopwright.app import App


def assembled(app: App, routers: Iterable[APIRouter]) -> FastAPI:
    """The application over `app`; of routes that answer the same address the first counts."""
    api = FastAPI(
        title="Loopwright",
        version=__version__,
        description="Model calls under `/v1`, in the dialects of OpenAI and Anthropic; management under `/api`.",
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
    )
    api.state.house = app
    for router in routers:
        api.include_router(router)
    say_errors(api)
    describe(api)
    return api
