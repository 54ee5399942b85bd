"""Plans of the embedding engine, and its queue."""

import asyncio
import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loopwright.core.errors import StartError, Unavailable
from loopwright.engines.embedding import Embedding
from loopwright.engines.embedding_queue import EmbeddingQueue
from loopwright.engines.machine import Machine
from loopwright.engines.protocol import Engine
from loopwright.kit.settings import EngineSettings

GIB = 1 << 30
ROOMY = Machine(cores=4, memory_bytes=16 * GIB, available_bytes=12 * GIB)
CONFIG = {
    "model_type": "bert",
    "hidden_act": "gelu",
    "num_hidden_layers": 6,
    "num_attention_heads": 12,
    "hidden_size": 384,
    "intermediate_size": 1536,
    "max_position_embeddings": 512,
    "vocab_size": 30_522,
    "layer_norm_eps": 1e-12,
}


def folder(tmp_path: Path, **changed: Any) -> Path:
    config = {name: value for name, value in {**CONFIG, **changed}.items() if value is not None}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "model.safetensors").touch()
    (tmp_path / "tokenizer.json").touch()
    return tmp_path


def plan(path: Path, machine: Machine = ROOMY, **more: Any) -> Any:
    engine: Engine = Embedding()
    return engine.plan("m", EngineSettings(kind="embedding", source=f"file:{path}", **more), machine)


def test_a_plan_says_what_it_needs_and_what_it_reads(tmp_path: Path) -> None:
    made = plan(folder(tmp_path))
    assert (made.operations, made.context, made.fit.threads, made.fit.kv_bytes) == (
        ("embeddings", "rerank"),
        512,
        3,
        0,
    )
    assert 20_000_000 < made.fit.weights_bytes < 30_000_000
    assert "22 MiB (int8)" in made.fit.explanation
    assert plan(tmp_path / "model.safetensors", context=256).context == 256


@pytest.mark.parametrize(
    ("changed", "more", "says"),
    [
        ({"model_type": "t5"}, {}, "'t5'"),
        ({"num_hidden_layers": None}, {}, "num_hidden_layers"),
        ({"hidden_size": 100}, {}, "multiples of 32"),
        ({}, {"context": 513}, "512 places"),
        ({}, {"args": {"grase": 1}}, "did you mean 'grace'"),
    ],
)
def test_what_it_cannot_host_is_refused(tmp_path: Path, changed: Any, more: Any, says: str) -> None:
    with pytest.raises(StartError, match=says):
        plan(folder(tmp_path, **changed), **more)


def test_missing_files_and_missing_memory_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StartError, match=r"config\.json"):
        plan(tmp_path)
    whole = folder(tmp_path)
    with pytest.raises(StartError, match="does not fit"):
        plan(whole, Machine(cores=1, memory_bytes=GIB, available_bytes=GIB // 4))
    (whole / "tokenizer.json").unlink()
    with pytest.raises(StartError, match=r"lacks tokenizer\.json"):
        plan(whole)


def sums(texts: Sequence[Sequence[int]]) -> "np.ndarray[Any, np.dtype[np.float32]]":
    return np.array([[sum(tokens)] for tokens in texts], np.float32)


def test_everybody_gets_their_own_vectors() -> None:
    batches: list[int] = []

    def encode(texts: Sequence[Sequence[int]]) -> Any:
        batches.append(len(texts))
        return sums(texts)

    async def main() -> None:
        queue = EmbeddingQueue(encode, together=8)
        working = asyncio.create_task(queue.run())
        got = await asyncio.gather(*(queue.encode([[i], [i, i]]) for i in range(20)))
        assert [vectors.tolist() for vectors in got] == [[[i], [2 * i]] for i in range(20)]
        assert queue.prompt_tokens_total == 60
        assert queue.queued == 0
        working.cancel()

    asyncio.run(main())
    assert max(batches) == 8


def test_a_full_queue_says_when_to_come_back_and_who_leaves_makes_room() -> None:
    go = threading.Event()

    def encode(texts: Sequence[Sequence[int]]) -> Any:
        go.wait(30)
        return sums(texts)

    async def main() -> None:
        queue = EmbeddingQueue(encode, limit=10, together=1)
        working = asyncio.create_task(queue.run())
        first = asyncio.create_task(queue.encode([[1] * 4]))
        second = asyncio.create_task(queue.encode([[2] * 4]))
        while queue.running == 0:  # noqa: ASYNC110 - the queue has no event for it
            await asyncio.sleep(0.001)
        with pytest.raises(Unavailable) as caught:
            await queue.encode([[3] * 4])
        assert caught.value.retry_after
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
        third = asyncio.create_task(queue.encode([[3] * 4]))
        await asyncio.sleep(0)
        go.set()
        assert (await first).tolist() == [[4]]
        assert (await third).tolist() == [[12]]
        assert queue.prompt_tokens_total == 8  # the one who left was never encoded
        working.cancel()

    asyncio.run(main())


def test_a_failure_reaches_those_it_belongs_to_only() -> None:
    def encode(texts: Sequence[Sequence[int]]) -> Any:
        if [13] in texts:
            raise RuntimeError("unlucky")
        return sums(texts)

    async def main() -> None:
        queue = EmbeddingQueue(encode, together=1)
        working = asyncio.create_task(queue.run())
        results = await asyncio.gather(*(queue.encode([[i]]) for i in (1, 13, 2)), return_exceptions=True)
        assert isinstance(results[1], RuntimeError)
        assert not isinstance(results[0], BaseException)
        assert not isinstance(results[2], BaseException)
        working.cancel()

    asyncio.run(main())
