"""The pages of collections: made and filled by forms, documents with their chunks, searches with why, measurements, help."""

import asyncio
import html
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import numpy as np
import pytest
from playwright.sync_api import Browser, expect

from loopwright.console.document_pages import runs
from loopwright.gateway.embedder import Embedders
from loopwright.kit.jobs import Jobs
from loopwright.kit.settings import ModelSettings, Settings
from loopwright.kit.settings_tasks import RetrievalSettings, TaskSettings, VariantSettings
from loopwright.retrieval.collection import Chunk, Collection, Content
from loopwright.retrieval.evaluations import Outcome, Row
from loopwright.retrieval.ingesting import Ingester
from tests.console.conftest import Visitor, signed_in
from tests.console.housing import ATTACK, House, csrf
from tests.retrieval.ingested import Here

SHORT_ATTACK = "<img src=x onerror=window.hacked=1>"


def with_assistant(settings: Settings) -> Settings:
    variant = VariantSettings(
        messages=({"role": "user", "content": "{{ input }}"},),
        retrieval=RetrievalSettings(collections=("help",), k=2, threshold=0.0),
    )
    return replace(
        settings,
        models={**settings.models, "starling": ModelSettings(provider="fake", operations=("embeddings",))},
        tasks={"docs-assistant": TaskSettings(model="mynah", variants={"base": variant})},
    )


@pytest.fixture(scope="module")
def house(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A house with a model that embeds and an assistant."""
    house = House(home=tmp_path_factory.mktemp("library"), database_url=database, changed=with_assistant)
    house.start(keys=False)
    house.do(prepared(house))
    try:
        yield house
    finally:
        house.stop()


async def prepared(house: House) -> None:
    await Jobs(house.app.db).prepare()
    for name, labels in (("librarian", None), ("reader", ("staff",)), ("stranger", ("board",))):
        _, house.secrets[name] = await house.app.keys.create("default", name, admin=labels is None, labels=labels)
    await house.app.keys.load()


@pytest.fixture
def boss(house: House) -> Iterator[httpx.Client]:
    with house.client("librarian") as client:
        yield client


def worked(house: House) -> None:
    """Read what waits."""
    embedders = Embedders(house.app.targets)

    async def embed(_collection: Collection, model: str, texts: list[str], /) -> list[list[float]]:
        embedder = embedders(model)
        assert embedder is not None
        return await embedder(texts)

    async def work() -> None:
        async with asyncio.timeout(60):
            await Ingester(house.app.workshop.intake, Here(), embed).run(once=True)

    house.do(work())


def post(client: httpx.Client, path: str, page: str = "/collections", **form: str) -> httpx.Response:
    return client.post(path, data={"csrf": csrf(client.get(page)), **form})


def made(client: httpx.Client, name: str, **form: str) -> None:
    answer = post(client, "/collections", name=name, **form)
    assert answer.status_code == 200, answer.text
    assert str(answer.url).endswith(f"/collections/{name}")


def put(house: House, client: httpx.Client, name: str, document: str, text: str, **form: str) -> int:
    """A document's number, read."""
    answer = post(client, f"/collections/{name}/texts", f"/collections/{name}", name=document, text=text, **form)
    assert answer.status_code == 200, answer.text
    worked(house)
    found = client.get(f"/collections/{name}.json", params={"prefix": document}).json()["documents"]
    assert found[0]["state"] == "ready", found
    number: int = found[0]["id"]
    return number


def test_a_collection_is_made_changed_embedded_anew_and_deleted(house: House, boss: httpx.Client) -> None:
    made(boss, "made", description="for colleagues", tokens="64", overlap="8", by="headings")
    again = post(boss, "/collections", name="made")
    assert (again.status_code, "there is a collection" in html.unescape(again.text)) == (409, True)
    assert post(boss, "/collections", name="no name!").status_code == 400
    assert post(boss, "/collections", name="x", tokens="many").status_code == 400
    assert post(boss, "/collections", name="x", embedder="nobody").status_code == 400
    [row] = [each for each in boss.get("/collections.json").json()["collections"] if each["name"] == "made"]
    assert (row["state"], row["documents"], row["chunking"]["tokens"], row["project"]) == ("empty", 0, 64, "default")
    page = "/collections/made"
    changed = post(
        boss, f"{page}/settings", page, description="new", tokens="32", by="sentences", search='{"mode": "lexical"}'
    )
    assert changed.status_code == 200
    told = boss.get(f"{page}.json").json()["collection"]
    assert (told["description"], told["chunking"]["by"], told["search"]) == ("new", "sentences", {"mode": "lexical"})
    assert "this is no JSON" in html.unescape(post(boss, f"{page}/settings", page, search="{").text)
    assert post(boss, f"{page}/embed", page, embedder="starling").status_code == 200
    assert post(boss, f"{page}/embed", page, embedder="parrot").status_code == 400
    assert boss.post(f"{page}/delete", data={"csrf": "odd"}).status_code == 403
    assert post(boss, f"{page}/delete", page).status_code == 200
    assert boss.get(page).status_code == 404


def test_files_come_in_by_a_form_and_show_how_far_they_are(house: House, boss: httpx.Client) -> None:
    made(boss, "files")
    page = "/collections/files"
    token = csrf(boss.get(page))
    files = {"file": ("../../guide.md", b"# Guide\n\nPress the red button.\n", "text/markdown")}
    answer = boss.post(f"{page}/documents", data={"csrf": token, "labels": "staff"}, files=files)
    assert answer.status_code == 200, answer.text
    assert "data-watched" in answer.text
    assert "Reading: 0 of 1 documents" in answer.text
    bad = {"file": ("broken.pdf", b"%PDF-1.7\nno more", "application/pdf")}
    boss.post(f"{page}/documents", data={"csrf": token}, files=bad)
    assert boss.post(f"{page}/documents", data={"csrf": "odd"}, files=files).status_code == 403
    empty = boss.post(f"{page}/documents", data={"csrf": token}, files={"file": ("a.txt", b"", "text/plain")})
    assert (empty.status_code, "choose a file" in empty.text) == (400, True)
    worked(house)
    twin = boss.get(f"{page}.json").json()
    assert twin["progress"] | {"version": 0} == {
        "ready": 1, "waiting": 0, "waiting_bytes": 0, "failed": 1, "problem": None, "embedding": None, "version": 0,
    }  # fmt: skip
    failed = boss.get(page, params={"state": "failed"})
    assert "broken.pdf" in failed.text
    assert "guide.md" not in failed.text
    assert 'class="wrong"' in failed.text
    assert "data-watched" not in failed.text
    assert boss.get(page, params={"state": "odd"}).status_code == 400
    assert boss.get(page, params={"prefix": "\x00"}).status_code == 400
    for name, sees in (("reader", True), ("stranger", False)):
        with house.client(name) as client:
            assert ("guide.md" in client.get(page).text) is sees
            number = next(each["id"] for each in twin["documents"] if each["labels"])
            assert client.get(f"{page}/documents/{number}").status_code == (200 if sees else 404)
            assert post(client, f"{page}/delete", page).status_code == 403


def test_a_document_shows_its_chunks_and_is_taken_out(house: House, boss: httpx.Client) -> None:
    made(boss, "texts", tokens="16", overlap="4")
    words = " ".join(f"word{n} says something of its own." for n in range(60))
    number = put(house, boss, "texts", "note", words, title="A note")
    address = f"/collections/texts/documents/{number}"
    page, twin = boss.get(address), boss.get(f"{address}.json").json()
    assert page.text.count('class="cut"') == len(twin["chunks"]) == twin["document"]["chunks"] > 3
    shown = re.sub(r'<a class="cut".*?</a>', "", page.text.split('<div class="body document"')[1].split("</div>")[0])
    assert html.unescape(re.sub(r"<[^>]+>", "", shown.split(">", 1)[1])) == twin["text"] == words
    passage = boss.get(address, params={"start": "10", "end": "40"}).text
    assert passage.count('id="passage"') == 1
    assert 'class="piece twice"' in page.text
    assert boss.get("/collections/texts/documents/999999").status_code == 404
    for odd in ("9" * 5000, "9" * 20, "-1", "note", "\u0663"):
        assert boss.get(f"/collections/texts/documents/{odd}").status_code == 404
        assert boss.get(f"/collections/texts/evaluations/{odd}.json").status_code == 404
    assert post(boss, f"{address}/delete", address).status_code == 200
    assert boss.get(address).status_code == 404
    acts = house.do(house.app.audit.page(limit=50))
    assert {"collection.create", "document.add", "document.delete"} <= {each.act for each in acts}


def test_a_text_is_cut_wherever_something_begins_or_ends() -> None:
    def chunk(position: int, start: int, end: int) -> Chunk:
        return Chunk(
            id=position, document_id=1, position=position, text="", heading="", page=None, start=start, end=end
        )

    content = Content(title="", text="0123456789" * 3, breaks=[0, 15])
    made_of = runs(content, [chunk(0, 0, 12), chunk(1, 10, 20)], 0, 30, (5, 11))
    assert "".join(each.text for each in made_of) == content.text
    assert [(each.text, each.look) for each in made_of] == [
        ("01234", "even"), ("56789", "even"), ("0", "twice"), ("1", "twice"), ("234", "odd"), ("56789", "odd"),
        ("0123456789", ""),
    ]  # fmt: skip
    assert "".join(each.text for each in made_of if each.found) == "567890"
    assert [each.page for each in made_of if each.page] == [1, 2]


def test_a_search_says_why_and_two_ways_stand_side_by_side(house: House, boss: httpx.Client) -> None:
    made(boss, "search")
    put(house, boss, "search", "sea", "The whales sing in the deep sea at night.")
    put(house, boss, "search", "bread", "Bread is baked from flour, water, salt and yeast.")
    where = "/collections/search/search"
    page = boss.get(where, params={"q": "singing whales"})
    assert page.status_code == 200
    assert "<mark>whales</mark> <mark>sing</mark>" in page.text
    assert all(word in page.text for word in ("Why this passage", "meaning", "words", "together", "rank 1"))
    both = {"q": "whales", "compare": "1", "mode_b": "lexical", "k": "1", "weight": "0", "diversity_b": "0.3"}
    assert "same place" in boss.get(where, params=both).text
    twin = boss.get(f"{where}.json", params=both).json()
    assert [each["options"] for each in twin["sides"]] == [{"weight": 0.0}, {"mode": "lexical", "diversity": 0.3}]
    assert [each["passages"][0]["document"] for each in twin["sides"]] == ["sea", "sea"]
    odd = boss.get(where, params={"q": "whales", "compare": "1", "filter_b": "{"})
    assert (odd.status_code, odd.text.count('role="alert"')) == (200, 1)
    assert "mode: " in html.unescape(boss.get(where, params={"q": "whales", "mode": "odd"}).text)
    assert boss.get(where).status_code == 200
    hybrid = boss.get(where, params={"q": "whales", "rerank": "mynah", "rewrite": "mynah", "neighbours": "1"})
    assert hybrid.status_code == 200


def measured(house: House, name: str) -> int:
    """An evaluation of 30 queries: hybrid finds what lexical does, but for one."""
    store = house.app.workshop
    collection = house.do(store.collections.get(1, name))
    values = {"lexical": [1.0] * 30, "hybrid": [0.0] + [1.0] * 29}
    rows = [
        Row(
            id=f"q{at}",
            text=f"{SHORT_ATTACK} question {at}",
            grades={SHORT_ATTACK: 1.0},
            ways={way: Outcome(found=[SHORT_ATTACK, "b"], measures={"ndcg@10": of[at]}, micros=1500) for way, of in values.items()},
        )
        for at in range(30)
    ]  # fmt: skip

    def way(of: str) -> dict[str, Any]:
        mean = float(np.mean(values[of]))
        figures = {"ndcg@10": {"estimate": mean, "low": mean - 0.1, "high": mean}}
        return {
            "name": of,
            "options": {"mode": of},
            "figures": figures,
            "p50_ms": 1.5,
            "p95_ms": 2.0,
            "hampered": 0,
            "notes": [],
        }

    summary = {
        "cutoffs": [10], "measures": ["ndcg@10"], "by": "ndcg@10", "baseline": "lexical", "synthetic": 0, "unmeasured": 0,
        "missing_documents": 2, "ways": [way("lexical"), way("hybrid")],
        "differences": [{"way": "hybrid", "by": "ndcg@10", "estimate": -0.03, "low": -0.1, "high": 0.02, "p": 0.3,
                         "p_holm": 0.3, "better": 0, "worse": 1, "same": 29}],
    }  # fmt: skip
    kept = house.do(store.measured.keep(collection, summary, rows, author=SHORT_ATTACK, note=SHORT_ATTACK))
    return kept.id


def test_measurements_show_ways_with_intervals_and_the_worst_queries(house: House, boss: httpx.Client) -> None:
    made(boss, "measured")
    where = "/collections/measured/evaluations"
    assert "Not measured yet" in boss.get(where).text
    number = measured(house, "measured")
    listed = boss.get(where)
    assert "forest" in listed.text
    assert boss.get(f"{where}.json").json()["evaluations"][0]["id"] == number
    page = boss.get(f"{where}/{number}")
    assert all(word in page.text for word in ("not told apart", "lost most against the baseline", "2 documents"))
    assert SHORT_ATTACK not in page.text
    twin = boss.get(f"{where}/{number}.json").json()
    assert (twin["queries"][0]["id"], twin["queries"][0]["change"], twin["next"], twin["way"]) == (
        "q0",
        -1.0,
        25,
        "hybrid",
    )
    assert len(boss.get(f"{where}/{number}.json", params={"offset": "25", "order": "given"}).json()["queries"]) == 5
    for params in ({"way": "odd"}, {"order": "odd"}, {"offset": "-1"}):
        assert boss.get(f"{where}/{number}", params=params).status_code == 400
    with house.client("reader") as client:
        assert client.get(where).status_code == 403
    assert post(boss, f"{where}/{number}/delete", f"{where}/{number}").status_code == 200
    assert boss.get(f"{where}/{number}").status_code == 404


def test_help_quotes_the_documents_and_writes_where_wanted(house: House, boss: httpx.Client) -> None:
    missing = boss.get("/help", params={"q": "how?"})
    assert (missing.status_code, "loopwright collections docs" in missing.text) == (404, True)
    made(boss, "help")
    put(house, boss, "help", "whales.md", "Whales sing in the deep sea. " * 30)
    assert "Ask the docs" in boss.get("/overview").text
    assert "Ask the docs" not in boss.get("/help").text
    page = boss.get("/help", params={"q": "who sings?"})
    assert "<mark>sing</mark>" in page.text
    twin = boss.get("/help.json", params={"q": "who sings?"}).json()
    assert twin["found"]["quotes"][0]["url"].startswith("/collections/help/documents/")
    assert twin["found"]["writer"] == "mynah"
    written = post(boss, "/help", "/help?q=who", q="who sings?")
    assert written.status_code == 200
    assert "It names no passage" in written.text
    assert "/calls/" in written.text
    assert boss.get("/help", params={"q": "x" * 2001}).status_code == 400


@pytest.mark.browser
def test_scripts_in_documents_never_run_and_the_drawer_streams(
    house: House, chromium: Browser, boss: httpx.Client
) -> None:
    made(boss, "hostile", description=SHORT_ATTACK)
    number = put(house, boss, "hostile", f"doc {SHORT_ATTACK}", f"{ATTACK} whales " * 3, title=SHORT_ATTACK)
    evaluation = measured(house, "hostile")
    context = chromium.new_context()
    visitor: Visitor = signed_in(context, house, "librarian")
    page = visitor.page
    for path in (
        "/collections", "/collections/hostile", f"/collections/hostile/documents/{number}?start=3&end=30",
        f"/collections/hostile/search?q=whales+{SHORT_ATTACK}&compare=1", "/collections/hostile/evaluations",
        f"/collections/hostile/evaluations/{evaluation}",
    ):  # fmt: skip
        page.goto(house.url + path)
        page.wait_for_load_state("networkidle")
        assert page.evaluate("window.hacked") is None, path
        assert page.locator("main img, main script").count() == 0, path
        assert page.locator("h1").count() == 1
        assert SHORT_ATTACK in page.inner_text("main"), path
    if boss.get("/collections/help").status_code == 404:
        made(boss, "help")
    put(house, boss, "help", "hostile.md", f"{ATTACK} otters swim.")
    page.goto(f"{house.url}/overview")
    page.click("text=Ask the docs")
    page.fill("#help-q", "otters")
    page.keyboard.press("Enter")
    expect(page.locator(".help .quotes li").first).to_contain_text(SHORT_ATTACK)
    page.click("text=Write an answer")
    expect(page.locator(".help a", has_text="Open the call")).to_be_visible()
    expect(page.locator(".help .said")).to_have_text("otters")
    assert page.evaluate("window.hacked") is None
    page.keyboard.press("Escape")
    expect(page.locator(".help")).not_to_have_attribute("open", "")
    assert visitor.complaints == []
    context.close()
