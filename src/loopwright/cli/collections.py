"""`loopwright collections`: documents that are searched."""

from __future__ import annotations

import json
import sys
import time
from typing import Annotated, Any, Final

import typer

from loopwright.cli.collection_search import search
from loopwright.cli.collections_calibrate import calibrate
from loopwright.cli.collections_costs import cost, forecast, questions
from loopwright.cli.collections_docs import docs
from loopwright.cli.collections_eval import evaluate
from loopwright.cli.collections_ingest import Name, bar, ingest, pairs
from loopwright.cli.quantities import local_text
from loopwright.cli.reach import ApiKey, Json, Project, Url, reach
from loopwright.cli.screen import Column, clean, say, show_done, show_facts, show_json, show_rows, show_table
from loopwright.client import Client
from loopwright.core.errors import NotFound

app = typer.Typer(
    help="Documents that are searched: create, ingest, search, measure, list, embed, delete.",
    no_args_is_help=True,
    add_completion=False,
)
app.command("ingest")(ingest)
app.command("docs")(docs)
app.command("search")(search)
app.command("calibrate")(calibrate)
app.command("eval")(evaluate)
app.command("questions")(questions)
app.command("forecast")(forecast)
app.command("cost")(cost)
_PIECE: Final = 1_000_000
Document = Annotated[str, typer.Argument(help="Its number or its name.", metavar="DOCUMENT")]


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="Letters, digits, and . _ - between them.")],
    *,
    description: Annotated[str | None, typer.Option(help="What is in it.")] = None,
    embedder: Annotated[str | None, typer.Option(help="The model its vectors come from; else the house's.")] = None,
    by: Annotated[str | None, typer.Option(help="How documents are cut: recursive, headings or sentences.")] = None,
    tokens: Annotated[int | None, typer.Option(help="Tokens a piece may have; 200 by default.")] = None,
    overlap: Annotated[
        int | None, typer.Option(help="Tokens a piece repeats of the one before; 20 by default.")
    ] = None,
    project: Project = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Make an empty collection."""
    cut = {"by": by, "tokens": tokens, "overlap": overlap}
    chunking = {key: value for key, value in cut.items() if value is not None}
    with reach(url, api_key) as client:
        made = client.create_collection(
            name, project=project, description=description, embedder=embedder, chunking=chunking or None
        )
    show_done(made, f"Made collection {name} with vectors of {made['embedder']}.", as_json=as_json)


@app.command("list")
def list_collections(
    *, project: Project = None, url: Url = None, api_key: ApiKey = None, as_json: Json = False
) -> None:
    """List collections by name."""
    with reach(url, api_key) as client:
        found = client.collections(project=project)
    columns = (
        Column(title="name", least=12),
        Column(title="documents", right=True),
        Column(title="chunks", right=True),
        Column(title="embedder", weight=1),
        Column(title="version", right=True, weight=2),
        Column(title="description", least=10, weight=3),
    )
    rows = (
        [
            each["name"],
            f"{each['documents']:,}",
            f"{each['chunks']:,}",
            each["embedder"],
            each["version"],
            each["description"],
        ]
        for each in found
    )
    show_rows(
        {"collections": found},
        columns,
        rows,
        as_json=as_json,
        empty="No collections. `loopwright collections create NAME` makes one.",
    )


@app.command("show")
def show(
    name: Name, *, project: Project = None, url: Url = None, api_key: ApiKey = None, as_json: Json = False
) -> None:
    """Show a collection and how far it is."""
    with reach(url, api_key) as client:
        found = client.collection(name, project=project)
    if as_json:
        show_json(found)
        return
    made, progress = found["collection"], found["progress"]
    cut = made["chunking"]
    embedding = progress["embedding"]
    anew = embedding and f"{embedding['done']:,} of {embedding['of']:,} chunks with {embedding['model']}"
    show_facts(
        (
            ("name", made["name"]),
            ("description", made["description"]),
            ("documents", f"{made['documents']:,}"),
            ("chunks", f"{made['chunks']:,}"),
            ("embedder", f"{made['embedder']} ({made['dimensions'] or 'no'} dimensions)"),
            ("cut", f"{cut['by']}, {cut['tokens']} tokens, {cut['overlap']} repeated"),
            ("search", json.dumps(made["search"]) if made["search"] else None),
            ("version", made["version"]),
            ("waiting", f"{progress['waiting']:,}" if progress["waiting"] else None),
            ("failed", f"{progress['failed']:,}" if progress["failed"] else None),
            ("embedded anew", anew),
            ("problem", progress["problem"] or (embedding and embedding["problem"])),
            ("made", local_text(made["created_at"])),
        )
    )


@app.command("documents")
def documents(
    name: Name,
    *,
    document: Annotated[
        str | None, typer.Option("--text", help="Print what this document says, by number or name.", metavar="DOCUMENT")
    ] = None,
    state: Annotated[str | None, typer.Option(help="Only waiting, ready or failed ones.")] = None,
    origin: Annotated[str | None, typer.Option(help="Only those that came as file, url or record.")] = None,
    label: Annotated[str | None, typer.Option(help="Only with this label.")] = None,
    metadata: Annotated[
        list[str] | None, typer.Option(help="Only with this said of them; repeat for more.", metavar="NAME=VALUE")
    ] = None,
    prefix: Annotated[str | None, typer.Option(help="Only whose names begin so.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=100_000, help="The first so many.")] = 50,
    project: Project = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """List documents by name, or print what one says."""
    with reach(url, api_key) as client:
        if document is not None:
            _print_text(client, name, _number(client, name, document, project), project, as_json=as_json)
            return
        asked = json.dumps(pairs(metadata)) if metadata else None
        where = {"state": state, "origin": origin, "label": label, "metadata": asked, "prefix": prefix}
        found: list[dict[str, Any]] = []
        after: str | None = None
        while len(found) < limit:
            room = min(limit - len(found), 1000)
            page = client.documents(name, project=project, after=after, limit=room, **where)
            found += page["documents"]
            after = page["next"]
            if after is None:
                break
    if as_json:
        show_json({"documents": found, "next": after})
        return
    columns = (
        Column(title="id", right=True),
        Column(title="name", least=20),
        Column(title="state"),
        Column(title="chunks", right=True),
        Column(title="labels", weight=1),
        Column(title="changed", weight=2),
        Column(title="reason", least=20, weight=1),
    )
    rows = [
        [
            each["id"],
            each["name"],
            "changing" if each["waiting"] and each["state"] == "ready" else each["state"],
            f"{each['chunks']:,}",
            ", ".join(each["labels"]),
            local_text(each["changed_at"]),
            each["reason"],
        ]
        for each in found
    ]
    show_table(columns, rows, empty="No documents. `loopwright collections ingest` takes some in.")
    if after is not None:
        say(f"The first {limit:,}; --limit shows more.", style="dim")


@app.command("embed")
def embed(
    name: Name,
    *,
    embedder: Annotated[str, typer.Option(help="The model its vectors are to come from.")],
    wait: Annotated[bool, typer.Option(help="Wait until they do.")] = True,
    project: Project = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Embed a collection anew with another model. It is searched as it is until that is done."""
    with reach(url, api_key) as client, bar(quiet=as_json) as told:
        client.embed_collection(name, embedder, project=project)
        problem = ""
        while wait and (embedding := client.collection_progress(name, project=project)["embedding"]) is not None:
            told("embedding", embedding["done"], embedding["of"])
            if embedding["problem"] and embedding["problem"] != problem:
                problem = embedding["problem"]
                say(problem, style="yellow")
            time.sleep(0.5)
        found = client.collection(name, project=project)
    if as_json:
        show_json(found)
    elif found["progress"]["embedding"] is None:
        say(f"{name} is searched by vectors of {found['collection']['embedder']}.", style="green")
    else:
        say(f"{name} is embedded with {embedder} in the background; `loopwright collections show` says how far it is.")


@app.command("delete")
def delete(
    name: Name,
    which: Annotated[
        list[str] | None,
        typer.Argument(
            help="Numbers or names of documents; without any the whole collection.", metavar="[DOCUMENTS]..."
        ),
    ] = None,
    *,
    label: Annotated[str | None, typer.Option(help="Every document with this label.")] = None,
    metadata: Annotated[
        list[str] | None, typer.Option(help="Every document with this said of it.", metavar="NAME=VALUE")
    ] = None,
    prefix: Annotated[str | None, typer.Option(help="Every document whose name begins so.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    project: Project = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Remove documents, or a collection with all that is in it, for ever."""
    where = {"label": label, "metadata": json.dumps(pairs(metadata)) if metadata else None, "prefix": prefix}
    picked = any(value is not None for value in where.values())
    what = f"these documents of {name}" if which or picked else f"collection {name} with all its documents"
    if not yes and not typer.confirm(f"Remove {what}, for ever?", err=True):
        raise typer.Exit(1)
    with reach(url, api_key, timeout=600.0) as client:
        if which or picked:
            numbers = [_number(client, name, each, project) for each in which or ()]
            gone = sum(client.delete_document(name, number, project=project)["deleted"] for number in numbers)
            gone += client.delete_documents(name, project=project, **where)["deleted"] if picked else 0
            answer: dict[str, Any] = {"deleted": gone}
        else:
            answer = client.delete_collection(name, project=project)
    show_done(answer, f"Removed {f'{gone:,} documents of {name}' if which or picked else what}.", as_json=as_json)


def _number(client: Client, name: str, document: str, project: str | None) -> int:
    """The number of a document by its number or name.

    Raises:
        NotFound: there is none.
    """
    page = client.documents(name, project=project, prefix=document, limit=1)["documents"]
    if page and page[0]["name"] == document:
        return int(page[0]["id"])
    if document.isascii() and document.isdigit() and len(document) < 19:
        return int(document)
    raise NotFound(f"there is no document {document!r} in collection {name!r}")


def _print_text(client: Client, name: str, number: int, project: str | None, *, as_json: bool) -> None:
    start, pieces = 0, list[str]()
    while True:
        page = client.document_text(name, number, project=project, start=start, length=_PIECE)
        pieces.append(page["text"])
        start += len(page["text"])
        if not page["text"] or start >= page["characters"]:
            break
    if as_json:
        show_json({**page, "text": "".join(pieces), "start": 0})
    else:
        sys.stdout.write(clean("".join(pieces)).rstrip("\n") + "\n")
