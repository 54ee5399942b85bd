"""What embedding will cost, and what answers cost from passages against everything in the prompt, over REST."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from loopwright.api.asking import Asker, House, Owner
from loopwright.api.collections import embedder_of
from loopwright.api.retrieval_evaluations import opened
from loopwright.app import App
from loopwright.core.errors import BadRequest, NotFound
from loopwright.core.money import Price
from loopwright.gateway.embedder import CalledEmbedder
from loopwright.kit.ids import Ids
from loopwright.kit.nearest import hint
from loopwright.laboratory.token_counts import counted, engine_of, extent_of, prompted, speed_of, tokens_of
from loopwright.retrieval.forecast import ITEMS, Forecast, price_of

router = APIRouter(prefix="/api")
_TEXTS: Final = 5_000
Embedder = Annotated[str | None, Query(max_length=200, description="The model; else the collection's.")]
Rate = Annotated[str | None, Query(max_length=40, description="US dollars for 1,000 tokens; else what is known of it.")]
Measure = Annotated[
    bool | None, Query(description="Embed up to 64 pieces to see how fast it is; by default with engines of ours.")
]


class Forecasting(BaseModel):
    """What would be embedded: texts, which are counted and not kept, or how many items of how many tokens."""

    model_config = ConfigDict(extra="forbid")

    texts: list[Annotated[str, Field(max_length=200_000)]] | None = Field(default=None, max_length=_TEXTS)
    items: int | None = Field(default=None, ge=0, le=ITEMS)
    tokens_each: float | None = Field(default=None, ge=0, le=1_000_000)
    embedder: str | None = Field(default=None, max_length=200)
    price: str | None = Field(default=None, max_length=40, description="US dollars for 1,000 tokens.")
    measure: bool | None = Field(default=None, description="See how fast it is, by embedding up to 64 of the texts.")


@router.post("/collections/forecast", tags=["collections"])
async def forecast_embedding(app: House, who: Asker, project_id: Owner, said: Forecasting) -> dict[str, Any]:
    """Tokens, money and time of embedding something, before it is done."""
    texts = said.texts or []
    if (said.texts is None) == (said.items is None) or (said.items is None) != (said.tokens_each is None):
        raise BadRequest("say `texts`, or `items` and `tokens_each`", param="items")
    named = said.embedder is not None or said.price is None or said.texts is not None
    model = embedder_of(app, who, said.embedder) if named else None
    if said.items is not None and said.tokens_each is not None:
        items, tokens, how = said.items, round(said.items * said.tokens_each), "told"
    else:
        assert model is not None
        items, (tokens, how) = len(texts), await counted(app, model, texts)
    return {"forecast": (await _forecast(app, project_id, model, items, tokens, how, texts, said)).shown()}


@router.get("/collections/{name}/forecast", tags=["collections"])
async def forecast_collection(
    app: House, who: Asker, project_id: Owner, name: str, *, embedder: Embedder = None, price: Rate = None,
    measure: Measure = None,
) -> dict[str, Any]:  # fmt: skip
    """Tokens, money and time of embedding a collection, as it is or anew with another model."""
    collection = await opened(app, who, project_id, name)
    model = collection.embedder if embedder is None else embedder_of(app, who, embedder)
    extent = await extent_of(app, collection)
    tokens, how = await tokens_of(app, model, extent)
    said = Forecasting(price=price, measure=measure)
    return {
        "forecast": (await _forecast(app, project_id, model, extent.chunks, tokens, how, extent.texts, said)).shown()
    }


@router.get("/collections/{name}/cost", tags=["collections"])
async def cost_of_answers(
    app: House,
    who: Asker,
    project_id: Owner,
    name: str,
    *,
    model: Annotated[list[str] | None, Query(max_length=20, description="Models; else all that chat.")] = None,
    k: Annotated[int, Query(ge=1, le=200, description="Passages of an answer.")] = 8,
    overhead: Annotated[int, Query(ge=0, le=100_000, description="Tokens of instructions and question.")] = 200,
    output_tokens: Annotated[int, Query(ge=0, le=100_000, description="Of the answer.")] = 300,
) -> dict[str, Any]:
    """What an answer costs from k passages, and with the whole collection in the prompt, model by model."""
    collection = await opened(app, who, project_id, name)
    known = [card.name for card in app.known if "chat" in card.operations and who.may_call(card.name)]
    for each in model or ():
        if each not in known:
            raise NotFound(f"there is no model {each[:80]!r} that chats{hint(each, known)}", param="model")
    extent = await extent_of(app, collection)
    rows = await prompted(app, who, extent, models=model or (), k=k, overhead=overhead, output=output_tokens)
    return {
        "collection": {"name": collection.name, "documents": collection.documents, "chunks": extent.chunks,
                       "characters": extent.document_characters},
        "k": k,
        "overhead": overhead,
        "output_tokens": output_tokens,
        "models": [row.shown() for row in rows],
    }  # fmt: skip


async def _forecast(
    app: App, project_id: int, model: str | None, items: int, tokens: int, how: str, texts: Any, said: Forecasting
) -> Forecast:
    known: Price | None = next((card.price for card in app.known if model == card.name or model in card.aliases), None)
    price, source = price_of(said.price, known)
    ours = model is not None and engine_of(app, model) is not None
    speed = None
    if model is not None and texts and (ours if said.measure is None else said.measure):
        embedder = CalledEmbedder(app.targets[model].chat, model, Ids())
        speed = await speed_of(app, embedder, model, texts, await app.policy_of(project_id, model))
    return Forecast(
        items=items,
        tokens=tokens,
        counted=how,
        embedder=model,
        price=price,
        price_source=source,
        tokens_a_second=speed,
    )
