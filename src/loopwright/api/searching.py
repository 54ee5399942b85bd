"""Searching collections over REST."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from loopwright.api.asking import Asker, House, Owner
from loopwright.laboratory.searching import searched

router = APIRouter(prefix="/api")
_Name = Annotated[str, Field(max_length=100)]
_Label = Annotated[str, Field(max_length=100)]
_OPTIONS: Final = (
    "mode", "candidates", "filter", "documents", "diversity", "rerank", "rewrite", "per_document", "neighbours",
    "weight", "explain",
)  # fmt: skip


class Asked(BaseModel):
    """What is looked for, and how; options that are left out are as the collection says. See docs/search.md."""

    model_config = ConfigDict(extra="forbid")

    query: str = Field(max_length=20_000)
    k: int = Field(default=8, ge=1, le=200, description="Passages that are wanted.")
    collections: list[_Name] = Field(default=[], max_length=15, description="Others to search as one with it.")
    labels: list[_Label] | None = Field(
        default=None, max_length=100, description="Narrows what the key may find further."
    )
    mode: JsonValue = Field(default=None, description="`hybrid`, `dense` or `lexical`.")
    candidates: JsonValue = Field(default=None, description="Of each list, before they become one: 1 to 1,000.")
    filter: JsonValue = Field(default=None, description='On metadata: `{"year": {"gte": 2020}, "kind": "report"}`.')
    documents: JsonValue = Field(default=None, description="Only in documents with these numbers.")
    diversity: JsonValue = Field(default=None, description="0 takes the best; nearer to 1, what is unlike them.")
    rerank: JsonValue = Field(default=None, description='A model, or `{"model", "by": "rerank|chat", "candidates"}`.')
    rewrite: JsonValue = Field(
        default=None, description='A model, or `{"model", "by": "rewrite|decompose", "queries"}`.'
    )
    per_document: JsonValue = Field(default=None, description="Passages of one document at most; 0 is any number.")
    neighbours: JsonValue = Field(default=None, description="Chunks before and after each that are shown with it.")
    weight: JsonValue = Field(default=None, description="Of meaning against words in `hybrid`: 0 to 1.")
    explain: JsonValue = Field(default=None, description="Return every candidate, with what each stage said of it.")


@router.post("/collections/{name}/search", tags=["collections"])
async def search_collection(app: House, who: Asker, project_id: Owner, name: str, asked: Asked) -> dict[str, Any]:
    """Find passages. Documents with labels are found by keys with one of them; the others by every key."""
    looked = await searched(
        app,
        who,
        project_id,
        [name, *asked.collections],
        text=asked.query,
        k=asked.k,
        options=asked.model_dump(include=set(_OPTIONS)),
        labels=None if asked.labels is None else frozenset(asked.labels),
    )
    found = looked.found
    out: dict[str, Any] = {
        "passages": [looked.shown(each) for each in found.passages],
        "queries": [*found.queries],
        "took_us": dict(found.took_us),
        "warnings": [*found.warnings],
    }
    if asked.explain:
        out["candidates"] = [looked.shown(each) for each in found.candidates]
    return out
