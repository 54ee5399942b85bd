"""Datasets in a real house: from files, calls, corrections and a model; by command line, REST and pages."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet as pq
import pytest

from loopwright.cli.main import main
from loopwright.client import Client
from loopwright.core.errors import BadRequest, Conflict, NotFound, TooLarge
from tests.flows.house import House

CONFIG = r"""
datasets: {upload_limit: 30MB}
server: {body_limit: 100KB}
providers:
  fake:
    kind: scripted
    args:
      answers:
        - {match: '"question":"(?P<q>same[^"]*)"', text: '{"question": "$q"}'}
        - {match: '"question":"(?P<q>nonsense[^"]*)"', text: 'I would rather explain it.'}
        - {match: 'Rewrite (?P<way>[^:]*):\s*.*"question":"(?P<q>[^"]*)"', text: '{"question": "$q, $way"}'}
      otherwise: "said: $last"
models:
  fake: {provider: fake, price: {input: 1.0, output: 3.0}}
  free: {provider: fake, model: fake}
  vectors: {provider: fake, model: fake, operations: [embeddings]}
tasks:
  support:
    input: {type: object, required: [question], properties: {question: {type: string, minLength: 4}}}
    variants: {plain: {model: fake, messages: [{role: user, content: "{{ question }}"}]}}
"""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    house = House(tmp_path_factory.mktemp("datasets"), config=CONFIG).start()
    yield house
    assert house.stop() == 0, house.log.read_text()


@dataclass(frozen=True)
class Done:
    """What a command did."""

    returncode: int
    stdout: str
    stderr: str


Run = Callable[..., Done]


@pytest.fixture
def run(house: House, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """`loopwright datasets …` in this process, as the shell would start it."""
    monkeypatch.setenv("LOOPWRIGHT_URL", house.url)
    monkeypatch.setenv("LOOPWRIGHT_API_KEY", house.key)

    def command(*words: str) -> Done:
        capfd.readouterr()
        code = main(["datasets", *words])
        told = capfd.readouterr()
        return Done(code, told.out, told.err)

    return command


def said(run: Run, *words: str) -> Any:
    done = run(*words, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def questions(count: int, word: str = "capital") -> list[dict[str, Any]]:
    return [
        {"id": f"{word}-{at}", "question": f"{word} question number {at * 7919}?", "answer": f"{at}"}
        for at in range(count)
    ]


def ask(house: House, text: str, **body: Any) -> str:
    told = {"model": "fake", "messages": [{"role": "user", "content": text}], **body}
    answer = house.api("POST", "/v1/chat/completions", json=told)
    assert answer.status_code == 200, answer.text
    return answer.headers["x-loopwright-call-id"]


def test_a_file_becomes_versions_and_files_again(run: Run, tmp_path: Path) -> None:
    file = lines(tmp_path / "capitals.jsonl", questions(60))
    first = said(run, "import", str(file), "--tag", "geo", "--note", "the first")
    assert (first["version"]["ref"], first["version"]["count"]) == ("capitals@1", 60)
    more = tmp_path / "more.csv"
    more.write_text("Frage;Antwort;Sprache\r\nWas ist die Hauptstadt von Peru?;Lima;de\r\n", encoding="utf-16")
    columns = ["--input", "question=Frage", "--expected", "Antwort", "--slice", "language=Sprache"]
    second = said(run, "import", str(more), "--name", "capitals", *columns)
    assert second["version"]["changes"]["added"] == 1
    assert second["version"]["slices"] == {"language": {"de": 1}}
    listed = {each["name"]: each["latest"]["number"] for each in said(run, "list")["datasets"]}
    assert listed["capitals"] == 2
    shown = said(run, "show", "capitals@1", "-n", "2")
    assert [each["id"] for each in shown["examples"]] == ["capital-0", "capital-1"]
    assert shown["examples"][0]["tags"] == ["geo"]
    for form in ("jsonl", "csv", "parquet"):
        out = tmp_path / f"out.{form}"
        assert run("export", "capitals", "-o", str(out)).returncode == 0
        again = said(run, "import", str(out), "--name", f"again-{form}")
        assert again["version"]["sha"] == second["version"]["sha"], form
    assert pq.read_table(tmp_path / "out.parquet").num_rows == 61
    chat = run("export", "capitals@1", "--format", "openai-chat", "--split", "train").stdout.splitlines()
    assert len(chat) == first["version"]["splits"]["train"]
    assert [message["role"] for message in json.loads(chat[0])["messages"]] == ["user", "assistant"]
    table = run("show", "capitals").stdout
    assert "the first" in table
    assert "Lima" not in run("split", "capitals").stdout


def test_every_wrong_row_is_named(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "bad.jsonl"
    file.write_bytes(b'{"question": "fine?", "answer": "1"}\n{oops\n{"question": 3, "answer": "1"}\n')
    done = run("import", str(file))
    assert done.returncode == 2
    assert "2 rows are wrong" in done.stderr
    assert "row 2: no JSON" in done.stderr
    assert "row 3: inputs.question is a number" in done.stderr
    assert run("show", "bad").returncode == 1
    short = lines(
        tmp_path / "short.jsonl", [{"question": "long enough", "answer": "1"}, {"question": "abc", "answer": "2"}]
    )
    done = run("import", str(short), "--task", "support")
    assert "row 2: inputs.question" in done.stderr
    assert run("import", str(short), "--shares", "50/50/1").returncode == 2


def test_uploads_are_bounded_and_may_be_larger_than_other_bodies(house: House, client: Client, tmp_path: Path) -> None:
    wide = lines(
        tmp_path / "wide.jsonl", [{"id": str(at), "question": f"{at} " + "x y z " * 5_000} for at in range(20)]
    )
    assert wide.stat().st_size > 500_000
    seen: list[str] = []
    made = client.import_dataset("wide", wide, told=lambda doing, _done, _of: seen.append(doing))
    assert made["version"]["count"] == 20
    assert "sending" in seen
    huge = tmp_path / "huge.jsonl"
    with huge.open("wb") as out:
        out.seek(31_000_000)
        out.write(b"\n")
    with pytest.raises((TooLarge, OSError)):
        client.import_dataset("huge", huge)
    with pytest.raises(NotFound):
        client.dataset("huge")


def test_calls_and_corrections_become_examples(house: House, run: Run, client: Client) -> None:
    session = "made-of-calls"
    calls = [ask(house, f"how do I cancel order {at}?", loopwright={"session": session}) for at in range(3)]
    body = {"loopwright": {"session": session, "variables": {"question": "where is my parcel?"}}}
    calls.append(ask(house, "", model="task/support", messages=[], **body))
    house.settled()
    made = client.fill_dataset("from-calls", "from-calls", {"tags": ["real"]}, session=session)
    assert made["version"]["count"] == 4
    page = client.examples("from-calls")
    assert [each["call_id"] for each in page["examples"]] == calls[::-1]
    assert page["examples"][0]["inputs"] == {"question": "where is my parcel?"}
    assert page["examples"][0]["slices"] == {"task": "support"}
    assert page["examples"][1]["origin"] == "call"
    assert page["examples"][1]["expected"].startswith("said: how do I cancel")
    client.correct(calls[0], "Open your orders and choose Cancel.")
    client.correct(calls[1], "first try")
    made = client.fill_dataset("corrected", "from-corrections", {})
    assert made["version"]["count"] == 2
    client.correct(calls[1], "Write to us.")
    again = said(run, "from-corrections", "corrected")
    assert again["version"]["changes"]["replaced"] == 1
    expected = {each["call_id"]: each["expected"] for each in client.examples("corrected")["examples"]}
    assert expected == {calls[0]: "Open your orders and choose Cancel.", calls[1]: "Write to us."}
    with pytest.raises(BadRequest, match="no example"):
        client.fill_dataset("nothing", "from-calls", {}, session="of nobody")


def test_a_model_writes_variations_within_a_budget(house: House, client: Client, tmp_path: Path) -> None:
    rows = [*questions(12, "harbour"), {"id": "s", "question": "same again"}, {"id": "n", "question": "nonsense"}]
    client.import_dataset("seeds", lines(tmp_path / "seeds.jsonl", [{**row, "answer": "x"} for row in rows]))
    sides = {each["id"]: each["split"] for each in client.examples("seeds")["examples"]}
    heard: list[tuple[str, int]] = []
    body = {"model": "fake", "each": 2, "split": None, "alike": 0.999}
    made = client.fill_dataset("seeds", "synthesize", body, told=lambda doing, done, _of: heard.append((doing, done)))
    synthesis = made["synthesis"]
    assert synthesis["written"] == 24
    assert synthesis["nothing_new"] == 6
    assert synthesis["unreadable"] == 6
    assert synthesis["ended"] == "done"
    assert heard
    written = client.examples("seeds", origin="synthetic", limit=100)["examples"]
    assert len(written) == 24
    for each in written:
        assert each["split"] == sides[each["metadata"]["seed"]]
        assert each["expected"] == "x"
    few = client.fill_dataset("seeds", "synthesize", {**body, "each": 9, "budget_usd": "0.001"})["synthesis"]
    assert few["ended"] == "budget"
    assert 0 < few["cost_nano"] <= 1_000_000
    with pytest.raises(BadRequest, match="no price"):
        client.fill_dataset("seeds", "synthesize", {**body, "model": "free", "each": 9, "budget_usd": "1"})
    with pytest.raises(NotFound):
        client.fill_dataset("seeds", "synthesize", {**body, "embedder": "nobody"})
    calls = house.calls(tag="loopwright.synthesis:seeds")
    assert len(calls) >= synthesis["asked"]


def test_a_copy_is_split_otherwise(run: Run, client: Client, tmp_path: Path) -> None:
    client.import_dataset("whole", lines(tmp_path / "whole.jsonl", questions(40, "river")))
    halves = said(run, "split", "whole", "--shares", "50/0/50", "--as", "halves")
    assert halves["version"]["splits"].keys() == {"train", "test"}
    assert halves["groups"] <= 40
    before = {each["id"]: each["split"] for each in client.examples("whole", limit=100)["examples"]}
    after = {each["id"]: each["split"] for each in client.examples("halves", limit=100)["examples"]}
    assert all(after[each] == "test" for each, side in before.items() if side == "test")
    with pytest.raises(Conflict):
        client.fill_dataset("whole", "copy", {"name": "halves"})
    assert run("split", "whole", "--shares", "50/0/50").returncode == 2
    assert run("delete", "halves", "--yes").returncode == 0
    with pytest.raises(NotFound):
        client.dataset("halves")


def test_projects_are_apart(house: House, client: Client, tmp_path: Path) -> None:
    client.create_project("strangers")
    key = client.create_key("stranger", project="strangers")["secret"]
    client.import_dataset("ours", lines(tmp_path / "ours.jsonl", questions(3)))
    with Client(house.url, key) as stranger:
        assert stranger.datasets() == []
        for act in (stranger.dataset, stranger.examples, stranger.delete_dataset):
            with pytest.raises(NotFound):
                act("ours")
        stranger.import_dataset("ours", lines(tmp_path / "theirs.jsonl", questions(4, "their")))
        with pytest.raises(NotFound):
            stranger.datasets(project="default")
    assert client.dataset("ours")["dataset"]["latest"]["count"] == 3
    assert client.dataset("ours", project="strangers")["dataset"]["latest"]["count"] == 4


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/api/datasets", {"name": "../etc"}),
        ("POST", "/api/datasets", {"name": "x\x00y"}),
        ("POST", "/api/datasets", {"name": "x", "shares": {"train": 120, "test": -20}}),
        ("POST", "/api/datasets", {"name": "x", "input_schema": {"type": "nothing"}}),
        ("POST", "/api/datasets/x%00/examples", {"examples": [{"inputs": {"q": "a"}}]}),
        ("POST", "/api/datasets/x/examples", {"examples": [{"inputs": {}}]}),
        ("POST", "/api/datasets/x/examples", {"examples": [{"inputs": {"q": "a"}, "id": "\x00"}]}),
        ("POST", "/api/datasets/x/examples", {"examples": [{"inputs": {"q": "a"}, "tags": ["a\x00"]}]}),
        ("POST", "/api/datasets/x/examples", r'{"examples": [{"inputs": {"q": "\ud800"}}]}'),
        ("POST", "/api/datasets/x/examples", r'{"examples": [{"inputs": {"\udfff": 1}}]}'),
        ("POST", "/api/datasets/x/examples", r'{"note": "\ud800", "examples": [{"inputs": {"q": 1}}]}'),
        ("POST", "/api/datasets", r'{"name": "x", "input_schema": {"title": "\ud800"}}'),
        ("POST", "/api/datasets", r'{"name": "x", "input_schema": {"title": "\u0000"}}'),
        ("POST", "/api/datasets/x/examples", '{"examples": [{"inputs": {"q": ' + "[" * 900 + "]" * 900 + "}}]}"),
        ("GET", "/api/datasets/%00", None),
        ("GET", "/api/datasets/x/versions/99999999999999999999", None),
        ("GET", "/api/datasets/x/examples?slice=%00:a", None),
        ("GET", "/api/datasets/x/examples?after=99999999999999999999", None),
        ("GET", "/api/datasets?after=%00", None),
    ],
)
def test_odd_input_is_the_askers_fault(house: House, method: str, path: str, body: Any) -> None:
    sent = {"content": body} if isinstance(body, str) else {"json": body} if body else {}
    answer = house.api(method, path, **sent)
    assert answer.status_code < 500, answer.text
    assert answer.status_code >= 400 or path.startswith("/api/datasets?"), answer.text


def test_an_upload_that_is_none_is_refused(house: House) -> None:
    headers = {"authorization": f"Bearer {house.key}"}
    url = f"{house.url}/api/datasets/x/import"
    for options in (
        {"content": b"x", "headers": {**headers, "content-type": "text/plain"}},
        {"files": {"other": ("a.jsonl", b"{}")}, "headers": headers},
        {"files": {"file": ("a.xlsx", b"{}")}, "headers": headers},
        {"files": {"file": ("a.jsonl", b'{"q": 1}\n')}, "data": {"mode": "explode"}, "headers": headers},
        {"files": {"file": ("a.jsonl", b'{"q": 1}\n')}, "data": {"columns": "[1"}, "headers": headers},
        {"files": {"file": ("a.jsonl", b'{"q": 1}\n')}, "data": {"nonsense": "1"}, "headers": headers},
    ):
        answer = httpx.post(url, timeout=30, **options)
        assert answer.status_code == 400, answer.text
    assert httpx.post(url, files={"file": ("a.jsonl", b"{}")}, timeout=30).status_code == 401


@pytest.fixture
def browser(house: House) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=house.url, follow_redirects=True, timeout=60) as browser:
        browser.post("/sign-in", data={"csrf": token(browser, "/sign-in"), "key": house.key})
        yield browser


def token(browser: httpx.Client, path: str) -> str:
    return browser.get(path).text.split('name="csrf" value="')[1].split('"')[0]


def test_a_page_takes_a_file_and_says_what_is_wrong_with_it(browser: httpx.Client) -> None:
    csrf = token(browser, "/datasets")
    attack = "<script>alert(1)</script>"
    raw = f"q,a,kind\n{attack},<b>x</b>,{attack}\nplain,y,z\n".encode()
    fields = {"csrf": csrf, "name": "paged", "column_inputs": "q", "column_expected": "a", "column_slices": "kind"}
    page = browser.post("/datasets/import", data=fields, files={"file": ("paged.csv", raw)})
    assert (page.status_code, page.url.path) == (200, "/datasets/paged")
    assert attack not in page.text
    assert "&lt;b&gt;x&lt;/b&gt;" in page.text
    twin = browser.get("/datasets/paged.json").json()
    assert twin["version"]["count"] == 2
    assert twin["examples"][0]["inputs"] == {"q": attack}
    assert len(browser.get("/datasets/paged.json", params={"slice": f"kind:{attack}"}).json()["examples"]) == 1
    assert browser.get("/datasets/paged/export/csv").text.count("\n") == 3
    assert browser.get("/datasets.json").json()["datasets"]
    wrong = {"file": ("bad.jsonl", b'{"q": 1}\n' + attack.encode() + b"\n")}
    page = browser.post("/datasets/import", data={"csrf": csrf, "name": "bad"}, files=wrong)
    assert page.status_code == 400
    assert "row 2: no JSON" in page.text
    page = browser.post("/datasets/import", data={"csrf": csrf, "name": "paged"}, files=wrong)
    assert "row 2: no JSON" in page.text
    assert browser.post("/datasets/import", data={"csrf": "no", "name": "x"}, files=wrong).status_code == 403
    assert (
        browser.post(
            "/datasets/import", data={"csrf": csrf, "name": "x"}, headers={"origin": "http://else"}, files=wrong
        ).status_code
        == 403
    )
    for path in (
        "/datasets/nobody",
        "/datasets/paged?version=7",
        "/datasets/paged?split=x",
        "/datasets/paged/export/xml",
        "/datasets/paged?slice=x",
    ):
        assert browser.get(path).status_code in {400, 404}
