"""`loopwright collections search`: passages of documents, and why they were found."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

import typer

from loopwright.cli.collections_ingest import Name
from loopwright.cli.reach import ApiKey, Json, Project, Url, reach
from loopwright.cli.screen import Column, clean, say, show_facts, show_json, show_table
from loopwright.core.errors import BadRequest
from loopwright.retrieval.marks import window

_SNIPPET: Final = 160
_STAGES: Final = ("dense", "lexical", "fused", "reranked", "diverse")


def search(
    name: Name,
    query: Annotated[str, typer.Argument(help="What is looked for, in words.", metavar="QUESTION")],
    *,
    k: Annotated[int, typer.Option("-k", min=1, max=200, help="Passages.")] = 8,
    mode: Annotated[str | None, typer.Option(help="hybrid, dense or lexical.")] = None,
    also: Annotated[list[str] | None, typer.Option("--also", help="Search this collection, too; repeat.")] = None,
    told: Annotated[
        str | None,
        typer.Option("--filter", help='On metadata, as JSON: {"year": {"gte": 2020}}.', metavar="JSON"),
    ] = None,
    diversity: Annotated[float | None, typer.Option(min=0, max=1, help="Pass over what says the same.")] = None,
    rerank: Annotated[str | None, typer.Option(help="A model that ranks the best again.", metavar="MODEL")] = None,
    rewrite: Annotated[str | None, typer.Option(help="A model that rewrites the question.", metavar="MODEL")] = None,
    decompose: Annotated[str | None, typer.Option(help="A model that takes it apart.", metavar="MODEL")] = None,
    per_document: Annotated[int | None, typer.Option(min=0, max=100, help="Passages of one document.")] = None,
    neighbours: Annotated[int | None, typer.Option(min=0, max=10, help="Chunks shown around each.")] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Show why: rank and score of every stage.")] = False,
    project: Project = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Find passages by meaning and words; [words] in brackets are those of the question."""
    if rewrite is not None and decompose is not None:
        raise BadRequest("--rewrite and --decompose: one of them")
    options: dict[str, Any] = {
        "k": k,
        "mode": mode,
        "collections": also,
        "filter": _filter(told),
        "diversity": diversity,
        "rerank": rerank,
        "rewrite": rewrite if decompose is None else {"model": decompose, "by": "decompose"},
        "per_document": per_document,
        "neighbours": neighbours,
        "explain": explain or None,
    }
    with reach(url, api_key) as client:
        found = client.search_collection(
            name, query, project=project, **{option: value for option, value in options.items() if value is not None}
        )
    if as_json:
        show_json(found)
        return
    for warning in found["warnings"]:
        say(warning, style="yellow")
    _show(found["passages"])
    if explain:
        _explain(found)


def _filter(told: str | None) -> Any:
    if told is None:
        return None
    try:
        return json.loads(told)
    except (ValueError, RecursionError):
        raise BadRequest('--filter: a JSON object, e.g. {"year": {"gte": 2020}}') from None


def _show(passages: Sequence[Mapping[str, Any]]) -> None:
    columns = (
        Column(title="", right=True),
        Column(title="score", right=True),
        Column(title="document", least=14),
        Column(title="page", right=True, weight=1),
        Column(title="passage", least=30),
    )
    rows = [
        [rank, f"{each['score']:.3f}", each["document"], each["page"], snippet(each["text"], each["marks"])]
        for rank, each in enumerate(passages, start=1)
    ]
    show_table(columns, rows, empty="Nothing was found.")


def snippet(text: str, marks: Sequence[Sequence[int]]) -> str:
    """One line of a passage where most of the words stand, those in brackets."""
    begin, end = window(text, [(start, stop) for start, stop in marks], _SNIPPET)
    out, at = "" if begin == 0 else "… ", begin
    for start, stop in marks:
        if begin <= start and stop <= end:
            out += f"{text[at:start]}[{text[start:stop]}]"
            at = stop
    out += text[at:end] + ("" if end == len(text) else " …")
    return " ".join(clean(out).split())


def _explain(found: Mapping[str, Any]) -> None:
    taken = {each["id"] for each in found["passages"]}
    columns = (
        Column(title="", right=True),
        Column(title="document", least=14),
        Column(title="chunk", right=True, weight=3),
        *(Column(title=stage, right=True, weight=1) for stage in _STAGES),
        Column(title="document's words", right=True, weight=2),
    )
    rows = []
    for each in found["candidates"]:
        scores = each["scores"]
        rows.append(
            [
                "*" if each["id"] in taken else "",
                each["document"],
                each["id"],
                *(_stage(scores, stage) for stage in _STAGES),
                f"{scores['document']:.2f}" if scores.get("document") else "",
            ]
        )
    show_table(columns, rows, empty="No candidates.", title="Candidates (* returned), rank: score")
    show_facts((("searched for", "; ".join(found["queries"])), ("took", _took(found["took_us"]))))


def _stage(scores: Mapping[str, float], stage: str) -> str:
    """The rank a stage gave, and its score where it has one."""
    rank, score = scores.get(f"{stage}_rank"), scores.get(stage)
    if rank is None:
        return ""
    return f"{rank:.0f}" if score is None else f"{rank:.0f}: {score:.3f}"


def _took(took: Mapping[str, int]) -> str:
    return ", ".join(f"{stage} {micros / 1000:.1f} ms" for stage, micros in took.items())
