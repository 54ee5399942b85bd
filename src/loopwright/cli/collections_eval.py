"""`loopwright collections eval`: how well a collection is searched, by labelled queries, several ways side by side."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from loopwright.cli.collections_ingest import Name, Telling, bar
from loopwright.cli.quantities import local_text
from loopwright.cli.reach import ApiKey, Json, Project, Url, reach
from loopwright.cli.screen import Column, clip, say, show_json, show_rows, show_table
from loopwright.client import Client
from loopwright.core.errors import BadRequest
from loopwright.retrieval.labelled import lines_of

_LONG: Final = 3_600.0
_RECORDS: Final = 500
"""That are sent at once."""
_LOOK: Final = 0.5
_MODES: Final = ("lexical", "dense", "hybrid")


def evaluate(
    name: Name,
    *,
    queries: Annotated[
        Path | None,
        typer.Option(help="Queries, JSON lines of `_id` and `text`, as BEIR's.", exists=True, dir_okay=False),
    ] = None,
    qrels: Annotated[
        Path | None,
        typer.Option(
            help="Judgements, JSON lines of `query-id`, `corpus-id` (a document's name) and `score`; else each query"
            " says what is `relevant`.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    corpus: Annotated[
        Path | None,
        typer.Option(
            help="Take these documents in first: JSON lines of `_id`, `text` and `title`.", exists=True, dir_okay=False
        ),
    ] = None,
    way: Annotated[
        list[str] | None,
        typer.Option(
            help="A mode, or a name and options of a search as JSON; repeat. The first is the baseline.",
            metavar="MODE|NAME=JSON",
        ),
    ] = None,
    rerank: Annotated[
        str | None, typer.Option(help="Measure hybrid reranked by this model, too.", metavar="MODEL")
    ] = None,
    cutoff: Annotated[
        list[int] | None, typer.Option("-k", min=1, max=200, help="Of precision@k and the others; repeat. 5 and 10.")
    ] = None,
    note: Annotated[str, typer.Option(help="What is measured, for later.")] = "",
    shown: Annotated[int, typer.Option("--worst", min=0, max=1000, help="Queries that got worse to show.")] = 5,
    show: Annotated[
        int | None, typer.Option("--show", help="Show this measurement again, and measure nothing.", metavar="NUMBER")
    ] = None,
    past: Annotated[bool, typer.Option("--list", help="List measurements, and measure nothing.")] = False,
    project: Project = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Measure how well a collection is searched: lexical, dense and hybrid side by side, with intervals."""
    with reach(url, api_key, timeout=_LONG) as client:
        if past:
            _list(client.retrieval_evaluations(name, project=project), as_json=as_json)
            return
        if show is None:
            if queries is None:
                raise BadRequest("--queries names the file of queries; --list and --show tell of earlier measurements")
            asked = {
                "queries": _read(queries),
                "qrels": [] if qrels is None else _read(qrels),
                "ways": ways_of(way, rerank),
                "cutoffs": cutoff or None,
                "note": note,
            }
            with bar(quiet=as_json) as told:
                if corpus is not None:
                    _take_in(client, name, corpus, project, told)
                show = int(client.evaluate_collection(name, project=project, told=told, **asked)["id"])
        found = {
            each["name"]: client.retrieval_evaluation(name, show, way=each["name"], limit=shown, project=project)
            for each in client.retrieval_evaluation(name, show, limit=0, project=project)["evaluation"]["ways"]
        }
    if as_json:
        told_first = next(iter(found.values()))["evaluation"]
        show_json({"evaluation": told_first, "queries": {way: each["queries"] for way, each in found.items()}})
        return
    _tell(name, found)


def ways_of(said: Sequence[str] | None, rerank: str | None) -> list[dict[str, Any]]:
    """The ways that options name.

    Raises:
        BadRequest: one is neither a mode nor a name with options.
    """
    found: list[dict[str, Any]] = []
    for each in said or _MODES:
        name, sign, told = each.partition("=")
        try:
            options = json.loads(told) if sign else {"mode": name}
        except ValueError as error:
            raise BadRequest(f"--way {each[:60]}: no JSON behind the name: {error}") from None
        if not isinstance(options, dict) or (not sign and name not in _MODES):
            raise BadRequest(f'--way {each[:60]}: one of {", ".join(_MODES)}, or NAME={{"mode": "hybrid", …}}')
        found.append({"name": name, "options": options})
    if rerank is not None:
        found.append({"name": "reranked", "options": {"mode": "hybrid", "rerank": rerank}})
    return found


def _read(path: Path) -> list[dict[str, Any]]:
    return list(lines_of(path.read_text(encoding="utf-8"), str(path)))


def _take_in(client: Client, name: str, corpus: Path, project: str | None, told: Telling) -> None:
    records = [
        {"id": str(each.get("_id", each.get("id", ""))), "text": each.get("text", ""), "title": each.get("title", "")}
        for each in _read(corpus)
        if str(each.get("text", "")).strip()
    ]
    for start in range(0, len(records), _RECORDS):
        told("sending", start, len(records))
        client.add_documents(name, project=project, records=records[start : start + _RECORDS])
    while (left := client.collection_progress(name, project=project)["waiting"]) > 0:
        told("ingesting", max(len(records) - left, 0), len(records))
        time.sleep(_LOOK)


def _list(page: Mapping[str, Any], *, as_json: bool) -> None:
    columns = (
        Column(title="id", right=True),
        Column(title="made"),
        Column(title="queries", right=True),
        Column(title="version", right=True, weight=2),
        Column(title="embedder", weight=1),
        Column(title="by"),
        Column(title="ways", least=20),
        Column(title="note", least=10, weight=3),
    )
    rows = (
        [
            each["id"],
            local_text(each["made_at"]),
            f"{each['queries']:,}",
            each["version"],
            each["embedder"],
            each["by"],
            ", ".join(f"{way['name']} {way['figures'][each['by']]['estimate']:.3f}" for way in each["ways"]),
            each["note"],
        ]
        for each in page["evaluations"]
    )
    show_rows(page, columns, rows, as_json=as_json, empty="Nothing was measured yet.")


def _tell(name: str, found: Mapping[str, Mapping[str, Any]]) -> None:
    made = next(iter(found.values()))["evaluation"]
    synthetic = f", {made['synthetic']:,} of them written by a model" if made["synthetic"] else ""
    say(
        f"{name} version {made['version']}: {made['documents']:,} documents, {made['chunks']:,} chunks,"
        f" {made['embedder']}; {made['queries']:,} queries{synthetic}"
    )
    if made["unmeasured"]:
        say(f"{made['unmeasured']:,} queries have nothing relevant and were left out.", style="yellow")
    if made["missing_documents"]:
        say(f"{made['missing_documents']:,} relevant documents are not in the collection.", style="yellow")
    deepest = made["cutoffs"][-1]
    measures = [each for each in made["measures"] if each.endswith(f"@{deepest}")]
    columns = (
        Column(title="way"),
        *(Column(title=each, right=True, weight=0 if each == made["by"] else 1) for each in measures),
        Column(title="p50 ms", right=True, weight=2),
        Column(title="p95 ms", right=True, weight=2),
    )
    rows = [
        [each["name"], *(_figure(each["figures"][one]) for one in measures), each["p50_ms"], each["p95_ms"]]
        for each in made["ways"]
    ]
    show_table(columns, rows, empty="", title="Means with 95 % bootstrap intervals")
    _tell_differences(made)
    for way in made["ways"]:
        if way["hampered"]:
            say(
                f"{way['name']}: {way['hampered']:,} queries went wrong: {clip('; '.join(way['notes']), 200)}",
                style="yellow",
            )
    for each in made["differences"]:
        _tell_worse(each["way"], found[each["way"]]["queries"], made)


def _tell_differences(made: Mapping[str, Any]) -> None:
    if not made["differences"]:
        return
    columns = (
        Column(title="way"),
        Column(title="difference", right=True),
        Column(title="95 %", right=True),
        Column(title="p (Holm)", right=True),
        Column(title="better", right=True),
        Column(title="worse", right=True),
        Column(title="same", right=True),
    )
    rows = [
        [
            each["way"],
            f"{each['estimate']:+.3f}",
            f"{each['low']:+.3f} to {each['high']:+.3f}",
            f"{each['p_holm']:.4f}",
            each["better"],
            each["worse"],
            each["same"],
        ]
        for each in made["differences"]
    ]
    show_table(columns, rows, empty="", title=f"{made['by']} against {made['baseline']}, query by query")


def _tell_worse(way: str, queries: Sequence[Mapping[str, Any]], made: Mapping[str, Any]) -> None:
    worse = [each for each in queries if each["change"] < 0]
    if not worse:
        return
    columns = (
        Column(title="query"),
        Column(title=made["baseline"], right=True),
        Column(title=way, right=True),
        Column(title="text", least=30),
    )
    rows = [[each["id"], f"{each['baseline']:.3f}", f"{each['value']:.3f}", each["text"]] for each in worse]
    show_table(columns, rows, empty="", title=f"Got worse with {way}")


def _figure(told: Mapping[str, float]) -> str:
    return f"{told['estimate']:.3f} [{told['low']:.3f}, {told['high']:.3f}]"
