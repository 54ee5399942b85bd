"""Reranking at upstreams: each in its own words, the answer in one form."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from loopwright.core.errors import BadRequest, UpstreamBroke
from loopwright.core.money import Usage
from loopwright.kit import reranking
from loopwright.kit.settings import ProviderSettings
from loopwright.providers.openai import OpenAICompatible
from loopwright.providers.presets import PRESETS
from loopwright.providers.rerank import Gathered, Words, questions
from loopwright.providers.scripted import Scripted
from loopwright.testing import FaultyUpstream
from tests.providers.asking import ask, request

ASKED: dict[str, Any] = {
    "query": "red fox",
    "documents": ["a blue whale", {"text": "a red fox"}, "a red car"],
    "top_n": 2,
    "return_documents": True,
    "max_tokens_per_doc": 64,
}
BODY = {"model": "ours", **ASKED}


def said(words: Words) -> list[dict[str, Any]]:
    return [json.loads(body) for _, body in questions(BODY, reranking.asked(BODY), words, "theirs")]


def test_what_is_common_is_asked_in_common_words() -> None:
    assert said(Words()) == [
        {
            "model": "theirs",
            "query": "red fox",
            "documents": ["a blue whale", "a red fox", "a red car"],
            "top_n": 2,
            "max_tokens_per_doc": 64,
        }
    ]


def test_presets_know_other_words() -> None:
    assert said(PRESETS["voyage"].rerank)[0]["top_k"] == 2
    (tei,) = said(PRESETS["tei"].rerank)
    assert tei["texts"] == ["a blue whale", "a red fox", "a red car"]
    assert tei["truncate"] is True
    assert not tei.keys() & {"model", "documents", "top_n", "return_documents"}
    assert (PRESETS["cohere"].rerank.path, PRESETS["cohere"].rerank.root) == ("/v2/rerank", True)


def test_parts_are_put_together() -> None:
    asked = reranking.asked(BODY)
    gathered = Gathered(asked)
    parts = list(questions(BODY, asked, Words(batch=2), "theirs"))
    assert [(start, len(json.loads(body)["documents"])) for start, body in parts] == [(0, 2), (2, 1)]
    assert all("top_n" not in json.loads(body) for _, body in parts)
    gathered.take(0, 2, b'[{"index": 1, "score": 0.9}, {"index": 0, "score": 0.1}]')
    gathered.take(2, 1, b'[{"index": 0, "score": 0.5}]')
    raw, usage = gathered.whole("theirs")
    results = json.loads(raw)["results"]
    assert [(each["index"], each["document"]["text"]) for each in results] == [(1, "a red fox"), (2, "a red car")]
    assert usage.estimated


@pytest.mark.anyio
async def test_an_openai_compatible_place_is_asked_at_its_own_path() -> None:
    async with asyncio.timeout(30), FaultyUpstream() as upstream:
        provider = OpenAICompatible("far", ProviderSettings(base_url=upstream.url, api_key="sk-x"))
        (delta,) = await ask(provider.chat("m"), request("ours", operation="rerank", **ASKED))
        await provider.close()
    assert upstream.seen[0].path == "/v1/rerank"
    answer = json.loads(delta.raw)
    assert [each["index"] for each in answer["results"]] == [1, 2]
    assert answer["results"][0] == {"index": 1, "relevance_score": 1.0, "document": {"text": "a red fox"}}
    assert (answer["id"], answer["model"]) == ("rerank-1", "m")
    assert (delta.usage, delta.done, delta.model, delta.provider) == (Usage(input=15), True, "m", "far")
    assert answer["usage"] == {"prompt_tokens": 15, "total_tokens": 15}


@pytest.mark.anyio
async def test_a_path_from_the_root_leaves_the_base_url_out() -> None:
    async with asyncio.timeout(30), FaultyUpstream() as upstream:
        settings = ProviderSettings(base_url=f"{upstream.url}/compatibility", preset="cohere", api_key="k")
        provider = OpenAICompatible("cohere", settings)
        await ask(provider.chat("rerank-v4"), request("rerank-v4", operation="rerank", **ASKED))
        await provider.close()
    assert upstream.seen[0].path == "/v2/rerank"
    assert upstream.seen[0].headers["authorization"] == "Bearer k"


@pytest.mark.anyio
@pytest.mark.parametrize("fault", ["html", "malformed-json", "error-body"])
async def test_what_is_no_answer_names_the_provider(fault: str) -> None:
    async with asyncio.timeout(30), FaultyUpstream() as upstream:
        provider = OpenAICompatible("far", ProviderSettings(base_url=upstream.url))
        with pytest.raises(UpstreamBroke, match="far"):
            await ask(provider.chat(f"fault:{fault}"), request("ours", operation="rerank", **ASKED))
        await provider.close()


@pytest.mark.anyio
async def test_a_script_refuses() -> None:
    provider = Scripted("fake", ProviderSettings(kind="scripted"))
    with pytest.raises(BadRequest):
        await ask(provider.chat("m"), request("m", operation="rerank", **ASKED))
