"""Collections in a real house: folders, records and URLs taken in; changed, killed halfway, embedded anew, deleted."""

import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest

from loopwright.cli.collections_docs import documentation
from loopwright.cli.main import main
from loopwright.client import Client
from loopwright.core.errors import BadRequest, Conflict, NotFound, Refused, TooLarge
from tests.documents.files import docx, paragraph, pdf
from tests.flows.house import House, wait

CONFIG = """
server: {body_limit: 1MB}
collections: {upload_limit: 200KB, private_addresses: true, urls: ["SITE/open/"]}
privacy: {projects: {closed: {residency: [own]}}}
providers:
  fake: {kind: scripted}
models:
  vectors: {provider: fake, model: fake, operations: [embeddings]}
  others: {provider: fake, model: fake, operations: [embeddings]}
  fake: {provider: fake}
"""
PAGE = b"<html><title>Opening hours</title><p>The museum opens at nine.</p></html>"


class Site(BaseHTTPRequestHandler):
    """A web site with a page, and one that leads elsewhere."""

    def do_GET(self) -> None:
        moved = self.path == "/open/moved"
        self.send_response(302 if moved else 200)
        if moved:
            self.send_header("location", "/closed")
        self.send_header("content-type", "text/html")
        self.send_header("content-length", str(len(PAGE)))
        self.end_headers()
        self.wfile.write(PAGE)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, site: str) -> Iterator[House]:
    house = House(tmp_path_factory.mktemp("collections"), config=CONFIG.replace("SITE", site)).start()
    yield house
    assert house.stop() == 0, house.log.read_text()


@dataclass(frozen=True)
class Done:
    """What a command did."""

    code: int
    told: Any
    stderr: str


Run = Callable[..., Done]


@pytest.fixture
def run(house: House, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """`loopwright collections … --json` in this process, as the shell would start it."""
    monkeypatch.setenv("LOOPWRIGHT_URL", house.url)
    monkeypatch.setenv("LOOPWRIGHT_API_KEY", house.key)

    def command(*words: object) -> Done:
        capfd.readouterr()
        code = main(["collections", *map(str, words), "--json"])
        told = capfd.readouterr()
        return Done(code, json.loads(told.out) if told.out else None, told.err)

    return command


def laid_out(folder: Path) -> Path:
    """A folder of every kind of file, good and bad."""
    files: dict[str, str | bytes] = {
        "guide.md": "# Guide\n\nPress the red button.\n\n## Safety\n\nNever press the blue one.\n",
        "page.html": "<html><title>Page</title><body><h1>Prices</h1><p>A ticket is 9 euros.</p></body></html>",
        "table.csv": "name,price\nadult,9\nchild,4\n",
        "notes.txt": "Bring water.\n",
        "code/main.py": "def answer():\n    return 42\n",
        "papers/report.pdf": pdf(["The first page speaks of rain.", "The second page speaks of snow."]),
        "papers/letter.docx": docx(paragraph("Dear reader, the invoice is paid.")),
        "bad/broken.pdf": b"%PDF-1.7\nno more than that",
        "bad/locked.pdf": pdf(["secret"], password="key"),
        "bad/empty.txt": "",
        "bad/noise.bin": bytes(range(256)) * 40,
        "bad/large.txt": "too much " * 30_000,
        ".hidden.md": "hidden",
        ".git/config": "hidden",
    }
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    (folder / "out.txt").symlink_to("/etc/hostname")
    (folder / "again.md").symlink_to(folder / "guide.md")
    (folder / os.fsdecode(b"caf\xe9.txt")).write_text("A name that is no UTF-8.")
    return folder


def test_a_folder_is_taken_in_changed_and_pruned(run: Run, client: Client, tmp_path: Path) -> None:
    folder = laid_out(tmp_path / "files")
    assert run("create", "docs", "--description", "of all kinds").told["embedder"] == "vectors"
    done = run("ingest", "docs", folder, "--metadata", "year=2026", "--metadata", "of=tests")
    assert done.code == 1
    assert done.told["added"] == 13
    assert done.told["waiting"] == 0
    failed = {each["name"]: each["reason"] for each in done.told["failed"]}
    assert sorted(failed) == [
        "bad/broken.pdf", "bad/empty.txt", "bad/large.txt", "bad/locked.pdf", "bad/noise.bin"
    ]  # fmt: skip
    assert "password" in failed["bad/locked.pdf"]
    assert "upload_limit" in failed["bad/large.txt"]
    found = {each["name"]: each for each in run("documents", "docs", "--state", "ready").told["documents"]}
    assert sorted(found) == [
        "again.md", "caf\ufffd.txt", "code/main.py", "guide.md", "notes.txt", "page.html", "papers/letter.docx",
        "papers/report.pdf", "table.csv",
    ]  # fmt: skip
    assert (found["papers/report.pdf"]["pages"], found["page.html"]["title"]) == (2, "Page")
    assert found["guide.md"]["metadata"]["year"] == 2026
    text = client.document_text("docs", found["papers/report.pdf"]["id"])
    assert "snow" in text["text"][text["breaks"][1] :]
    # Again: nothing is sent but what failed.
    assert run("ingest", "docs", folder, "--metadata", "year=2026", "--metadata", "of=tests").told["unchanged"] == 9
    for path in (folder / "bad").iterdir():
        path.unlink()
    (folder / "notes.txt").write_text("Bring more water.\n")
    (folder / "code" / "main.py").unlink()
    (folder / "new.md").write_text("# New\n\nAll of it.\n")
    before = client.collection("docs")["collection"]
    done = run("ingest", "docs", folder, "--prune", "--metadata", "year=2026", "--metadata", "of=tests")
    assert done.code == 0, done
    assert (done.told["added"], done.told["changed"], done.told["unchanged"]) == (1, 1, 7)
    assert done.told["deleted"] == 5  # the code, and four that had failed
    after = client.collection("docs")["collection"]
    assert after["documents"] == before["documents"] == 9
    assert after["version"] > before["version"]
    assert client.document_text("docs", found["notes.txt"]["id"])["text"].rstrip() == "Bring more water."
    only = run("ingest", "docs", folder, "--glob", "*.md", "--exclude", "again.md", "--prefix", "v2/").told
    assert only["added"] == 2
    assert run("delete", "docs", "v2/guide.md", "--yes").told == {"deleted": 1}
    assert run("delete", "docs", "--prefix", "v2/", "--yes").told == {"deleted": 1}
    assert run("ingest", "docs", tmp_path / "none").code == 2


def test_our_own_documentation_is_a_collection(run: Run, client: Client) -> None:
    pages = [*documentation().rglob("*.md")]
    done = run("docs", "ours")
    assert (done.code, done.told["added"], done.told["failed"]) == (0, len(pages), []), done
    client.change_collection("ours", search={"mode": "lexical"})
    found = client.search_collection("ours", "how is the key rotated that texts are sealed with", k=3)["passages"]
    assert "docs/encryption.md" in {each["document"] for each in found}
    assert run("docs", "ours").told["unchanged"] == len(pages)


def test_records_urls_and_labels(house: House, run: Run, client: Client, site: str) -> None:
    client.create_collection("mixed", chunking={"by": "sentences", "tokens": 64, "overlap": 0})
    records = [{"id": f"q{n}", "text": f"Question {n}. <b>Plain</b>.", "title": f"Q{n}"} for n in range(3)]
    taken = client.add_documents("mixed", records=records, labels=["staff"], metadata={"n": 1})
    assert taken["counts"] == {"added": 3}
    assert client.add_documents("mixed", records=records, labels=["staff"], metadata={"n": 1})["counts"] == {
        "unchanged": 3
    }
    records[0]["text"] = "Another question."
    taken = client.add_documents("mixed", records=records[:1], labels=["staff"])
    assert taken["documents"][0]["outcome"] == "changed"
    done = run("ingest", "mixed", f"{site}/open/hours", f"{site}/open/moved", f"{site}/open/../closed")
    assert done.code == 1
    assert (done.told["added"], len(done.told["failed"])) == (0, 3)  # one that may not be fetched stops those with it
    done = run("ingest", "mixed", f"{site}/open/hours", f"{site}/open/moved")
    assert (done.code, done.told["added"]) == (1, 1)
    [moved] = done.told["failed"]
    assert "redirects to where nobody may go" in moved["reason"]
    page = client.documents("mixed", origin="url")["documents"]
    assert [(each["title"], each["state"]) for each in page] == [("Opening hours", "ready")]
    guest = client.create_key("guest", labels=["guests"])["secret"]
    staff = client.create_key("staff", labels=["staff"])["secret"]
    q1 = next(each for each in client.documents("mixed", label="staff")["documents"] if each["name"] == "q1")
    assert client.document_text("mixed", q1["id"])["text"] == "Question 1. <b>Plain</b>."
    with Client(house.url, staff) as asker:
        assert len(asker.documents("mixed")["documents"]) == 4
        with pytest.raises(Refused, match="may not delete a whole"):
            asker.delete_collection("mixed")
        with pytest.raises(Refused, match="does not have the label 'guests'"):
            asker.add_documents("mixed", records=[{"id": "x", "text": "y"}], labels=["guests"])
    with Client(house.url, guest) as asker:
        assert [each["origin"] for each in asker.documents("mixed")["documents"]] == ["url"]
        for ask in (asker.document, asker.document_text, asker.delete_document):
            with pytest.raises(NotFound):
                ask("mixed", q1["id"])
        [refused] = asker.add_documents("mixed", records=[{"id": "q1", "text": "mine"}])["documents"]
        assert refused["outcome"] == "refused"
        assert asker.delete_documents("mixed", label="staff") == {"deleted": 0}
    assert client.delete_documents("mixed", metadata='{"n": 1}') == {"deleted": 2}
    acts = {act["act"] for act in client.acts(limit=200)}
    assert {"collection.create", "document.add", "document.delete"} <= acts


def test_rows_of_a_file_become_documents(run: Run, client: Client, tmp_path: Path) -> None:
    client.create_collection("rows")
    file = tmp_path / "questions.jsonl"
    rows = [{"id": n, "question": f"Q{n}?", "reply": f"The answer is {n}.", "topic": "sums"} for n in range(700)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ("ingest", "rows", file, "--rows", "--text", "reply", "--metadata", "year=2026")
    assert (run(*words).code, run(*words).told["unchanged"]) == (0, 700)
    [found] = client.documents("rows", prefix="77", metadata='{"topic": "sums", "year": 2026}', limit=1)["documents"]
    assert (found["name"], found["title"], found["origin"]) == ("77", "Q77?", "record")
    rows[5]["reply"] = "Another."
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert (run(*words).told["changed"], client.collection("rows")["collection"]["documents"]) == (1, 700)


def test_what_makes_no_sense_is_refused(house: House, client: Client) -> None:
    client.create_collection("odd")
    for wrong in (
        {"records": [{"id": "", "text": "x"}]},
        {"records": [{"id": "a", "text": " \x00 "}]},
        {"records": [{"id": "a", "text": "x", "labels": ["a,b"]}]},
        {"records": [{"id": "a", "text": "x", "metadata": {"a": "\x00"}}]},
        {"files": [{"name": "a\nb", "data": b"x"}]},
        {"urls": ["http://169.254.169.254/latest/"]},
        {},
    ):
        with pytest.raises(BadRequest):
            client.add_documents("odd", **wrong)
    with pytest.raises(TooLarge):
        client.add_documents("odd", records=[{"id": "a", "text": "x" * 1_200_000}])
    with pytest.raises(BadRequest, match="upload_limit"):
        client.add_documents("odd", records=[{"id": "a", "text": "x" * 300_000}])
    with pytest.raises(Conflict, match="already"):
        client.create_collection("odd")
    with pytest.raises(Conflict, match="collections embed odd"):
        client.change_collection("odd", embedder="others")
    with pytest.raises(BadRequest, match="embeds nothing here"):
        client.embed_collection("odd", "fake")
    with pytest.raises(NotFound, match="did you mean 'odd'"):
        client.collection("ood")
    for query in ("metadata=[1]", "metadata={", "after=%00", "prefix=%00", "label=%00&state=ready"):
        assert house.api("GET", f"/api/collections/odd/documents?{query}").status_code in (200, 400)
    sent = {"file": ("../../etc/passwd", b"a name is a name", "text/plain")}
    answer = house.api("POST", "/api/collections/odd/documents", files=sent, data={"name": "../../etc/passwd"})
    assert answer.status_code == 202, answer.text
    wait(lambda: client.collection_progress("odd")["ready"] == 1)
    assert client.documents("odd")["documents"][0]["name"] == "../../etc/passwd"
    assert house.api("DELETE", "/api/collections/odd/documents").status_code == 400
    assert client.delete_collection("odd") == {"name": "odd", "deleted": True}


def kill_ingester(house: House) -> None:
    with suppress(psutil.NoSuchProcess):  # one that was killed before is there until it is waited for
        for process in house.children("_ingester"):
            process.kill()


def test_texts_go_to_no_embedder_that_the_projects_policy_forbids(house: House, client: Client) -> None:
    client.create_project("closed")
    with Client(house.url, client.create_key("closed", project="closed")["secret"]) as asker:
        asker.create_collection("docs")
        asker.add_documents("docs", records=[{"id": "a", "text": "stays here"}])
        wait(lambda: asker.collection_progress("docs")["waiting"] == 0)
        [failed] = asker.documents("docs", state="failed")["documents"]
        assert "privacy.projects.closed" in failed["reason"]


def test_killed_halfway_it_goes_on_with_nothing_double_and_is_embedded_anew(house: House, client: Client) -> None:
    client.create_collection("many")
    words = "rain falls on the roof of the house and runs into the river"
    records = [{"id": f"r{n:04}", "text": f"Number {n}: {words}. " * 12} for n in range(600)]
    for start in range(0, 600, 300):
        client.add_documents("many", records=records[start : start + 300])
    wait(lambda: client.collection_progress("many")["ready"])
    kill_ingester(house)
    wait(lambda: client.collection_progress("many")["waiting"] == 0)
    made = client.collection("many")
    assert (made["collection"]["documents"], made["progress"]["failed"]) == (600, 0)
    listed = client.documents("many", limit=1000)["documents"]
    assert sum(each["chunks"] for each in listed) == made["collection"]["chunks"]
    begun = client.embed_collection("many", "others")
    assert begun["collection"]["embedder"] == "vectors"
    wait(lambda: (client.collection_progress("many")["embedding"] or {"done": 1})["done"])
    kill_ingester(house)
    client.add_documents("many", records=[{"id": "late", "text": "came meanwhile"}])
    wait(lambda: client.collection_progress("many")["embedding"] is None)
    wait(lambda: client.collection_progress("many")["waiting"] == 0)
    now = client.collection("many")["collection"]
    assert (now["embedder"], now["documents"]) == ("others", 601)
    assert client.delete_collection("many")["deleted"]
    assert [each["name"] for each in client.collections() if each["name"] == "many"] == []
