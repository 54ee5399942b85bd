"""Every dialect the hot routes speak, by path: for the server and, without one, for the lines of batches."""

from __future__ import annotations

from loopwright.api.dialect import Dialect
from loopwright.api.messages import Messages
from loopwright.api.moderations import Moderations
from loopwright.api.openai import OPERATIONS, OpenAI
from loopwright.api.rerank import Rerank
from loopwright.api.responses import Responses
from loopwright.app import App


def dialects(app: App) -> dict[str, Dialect]:
    """The dialects over `app`."""
    return {
        **{path: OpenAI(operation) for path, operation in OPERATIONS.items()},
        "/v1/responses": Responses(app.calls),
        "/v1/messages": Messages(),
        "/v1/moderations": Moderations(),
        "/v1/rerank": Rerank(app.settings.server.rerank_documents),
    }
