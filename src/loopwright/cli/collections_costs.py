"""`loopwright collections forecast | cost | questions`: before it is paid for, what it costs; before people ask, questions."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from loopwright.cli.collections_ingest import Name, bar
from loopwright.cli.reach import ApiKey, Json, Project, Url, reach
from loopwright.cli.screen import Column, say, show_facts, show_json, show_table
from loopwright.cli.sources import Source, gathered
from loopwright.client import Client
from loopwright.core.errors import BadRequest
from loopwright.documents.chunking import cut
from loopwright.documents.limits import Limits
from loopwright.documents.sandboxed import Reader
from loopwright.documents.unreadable import Unreadable
from loopwright.retrieval.collection import Chunking
from loopwright.retrieval.embedded import by_bytes, embeddable
from loopwright.retrieval.forecast import Forecast, price_of

_LONG: Final = 3_600.0
_TOGETHER: Final = 1_000
"""Texts that are counted at once."""
Price = Annotated[
    str | None, typer.Option(help="US dollars for 1,000 tokens; else what is known of the model.", metavar="USD")
]
Embedder = Annotated[str | None, typer.Option(help="The model that embeds.", metavar="MODEL")]


def forecast(
    what: Annotated[
        list[str] | None, typer.Argument(help="A collection, or files and folders.", metavar="COLLECTION|PATHS...")
    ] = None,
    *,
    embedder: Embedder = None,
    price: Price = None,
    items: Annotated[int | None, typer.Option(min=0, help="Instead: so many pieces")] = None,
    tokens: Annotated[float | None, typer.Option(min=0, help="of so many tokens each.")] = None,
    by: Annotated[str | None, typer.Option(help="How files are cut: recursive, headings or sentences.")] = None,
    piece: Annotated[int | None, typer.Option(help="Tokens a piece of a file may have; 200 by default.")] = None,
    overlap: Annotated[int | None, typer.Option(help="Tokens a piece repeats; 20 by default.")] = None,
    measure: Annotated[
        bool | None,
        typer.Option(help="See how fast the model is, by embedding 64 pieces; by default with our engines."),
    ] = None,
    project: Project = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Tell what embedding costs and how long it takes, before it is done. Nothing is taken in."""
    if (items is None) != (tokens is None) or (items is None) == (not what):
        raise BadRequest("name a collection or files, or say --items and --tokens")
    if items is not None and tokens is not None and embedder is None and price is not None:
        amount, source = price_of(price, None)
        made = Forecast(items=items, tokens=round(items * tokens), counted="told", price=amount, price_source=source)
        _tell(made.shown(), as_json=as_json)
        return
    said: dict[str, Any] = {"embedder": embedder, "price": price, "measure": measure, "project": project}
    with reach(url, api_key, timeout=_LONG) as client:
        if items is not None:
            told = client.forecast_embedding(items=items, tokens_each=tokens, **said)
        elif what and len(what) == 1 and not Path(what[0]).exists():
            asked = {**said, "measure": None if measure is None else str(measure).lower()}
            told = client.forecast_collection(what[0], **asked)
        else:
            given = {"by": by, "tokens": piece, "overlap": overlap}
            chunking = Chunking.of({name: value for name, value in given.items() if value is not None})
            texts, bad = asyncio.run(_pieces([Path(each) for each in what or ()], chunking))
            for name, why in bad:
                say(f"{name}: {why}", style="yellow")
            told = _of_texts(client, texts, said)
    _tell(told, as_json=as_json)


def cost(
    name: Name,
    *,
    model: Annotated[list[str] | None, typer.Option(help="Only this model; repeat for more.")] = None,
    k: Annotated[int, typer.Option("-k", min=1, max=200, help="Passages of an answer.")] = 8,
    overhead: Annotated[int, typer.Option(min=0, max=100_000, help="Tokens of instructions and question.")] = 200,
    output_tokens: Annotated[int, typer.Option(min=0, max=100_000, help="Tokens of the answer.")] = 300,
    project: Project = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Compare what an answer costs from passages with what it costs with the whole collection in the prompt."""
    with reach(url, api_key, timeout=_LONG) as client:
        found = client.collection_cost(
            name, k=k, overhead=overhead, output_tokens=output_tokens, model=model, project=project
        )
    if as_json:
        show_json(found)
        return
    about = found["collection"]
    say(f"{name}: {about['documents']:,} documents, {about['chunks']:,} chunks, {about['characters']:,} characters")
    columns = (
        Column(title="model"),
        Column(title=f"tokens, {k} passages", right=True),
        Column(title="$ an answer", right=True),
        Column(title="tokens, everything", right=True),
        Column(title="$ an answer", right=True),
        Column(title="$ from the prompt cache", right=True, weight=1),
        Column(title="times", right=True, weight=1),
        Column(title="fits", least=6),
    )
    show_table(columns, [_row(each) for each in found["models"]], empty="No model here chats.")
    if any(each["estimated"] for each in found["models"]):
        say("~ is estimated: four bytes are taken for a token.", style="dim")


def questions(
    name: Name,
    *,
    model: Annotated[str, typer.Option(help="The model that writes.")],
    count: Annotated[int, typer.Option(min=1, max=2_000, help="Questions that are wanted.")] = 50,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write them here, as `eval` reads them.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Append them to this dataset, too.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Another one draws other passages.")] = 0,
    alike: Annotated[float, typer.Option(min=0, max=1, help="Cosine from which a question says nothing new.")] = 0.92,
    overlap: Annotated[
        float, typer.Option(min=0, max=1, help="Share of its words that its passage must have, or")
    ] = 0.3,
    near: Annotated[float, typer.Option(min=0, max=1, help="the cosine that it must have with it.")] = 0.45,
    depth: Annotated[int, typer.Option(min=1, max=200, help="How far down its passage may be found.")] = 50,
    budget: Annotated[str | None, typer.Option(help="US dollars that may be spent.", metavar="USD")] = None,
    project: Project = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Have a model write questions that passages answer, to measure search by. Each is marked synthetic."""
    said = {
        "model": model, "count": count, "dataset": dataset, "seed": seed, "alike": alike, "overlap": overlap,
        "near": near, "depth": depth, "budget_usd": budget,
    }  # fmt: skip
    with reach(url, api_key, timeout=_LONG) as client, bar(quiet=as_json) as told:
        made = client.question_collection(name, project=project, told=told, **said)
    lines = [json.dumps(each, ensure_ascii=False) for each in made["questions"]]
    if out is not None:
        out.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    if as_json:
        show_json(made)
        return
    if out is None:
        for line in lines:
            typer.echo(line)
    _tell_made(made, out)


async def _pieces(paths: Sequence[Path], chunking: Chunking) -> tuple[list[str], list[tuple[str, str]]]:
    """What would be embedded of files, cut as a collection cuts where a token is four bytes; and what cannot be read."""
    found = gathered(paths)
    texts, bad = [], list(found.bad)
    count = by_bytes("").count
    async with Reader(limits=Limits()) as reader:
        for source in found.sources:
            try:
                parsed = await reader.read(await asyncio.to_thread(_bytes_of, source), source.name)
            except (Unreadable, OSError) as error:
                bad.append((source.name, str(error)))
                continue
            pieces = cut(parsed, by=chunking.by, tokens=chunking.tokens, overlap=chunking.overlap, count=count)
            texts += [embeddable(parsed.title, each.heading, each.text) for each in pieces]
    return texts, bad


def _bytes_of(source: Source) -> bytes:
    return source.path.read_bytes()


def _of_texts(client: Client, texts: Sequence[str], said: Mapping[str, Any]) -> dict[str, Any]:
    """A forecast of many texts: counted in several requests, timed with the first."""
    first = client.forecast_embedding(texts=[*texts[:_TOGETHER]], **said)
    items, tokens = first["items"], first["tokens"]
    for start in range(_TOGETHER, len(texts), _TOGETHER):
        more = client.forecast_embedding(texts=[*texts[start : start + _TOGETHER]], **{**said, "measure": False})
        items, tokens = items + more["items"], tokens + more["tokens"]
    amount, _ = price_of(first["price_usd_per_1k"], None)
    whole = Forecast(
        items=items,
        tokens=tokens,
        counted=first["counted"],
        embedder=first["embedder"],
        price=amount,
        price_source=first["price_source"],
        tokens_a_second=first["tokens_a_second"],
    )
    return whole.shown()


def _tell(told: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        show_json({"forecast": told})
        return
    speed, seconds = told["tokens_a_second"], told["seconds"]
    price = told["price_usd_per_1k"]
    show_facts(
        (
            ("embedder", told["embedder"]),
            ("pieces", f"{told['items']:,}"),
            ("tokens", f"{told['tokens']:,} ({told['counted']})"),
            (
                "price",
                "not known: say --price" if price is None else f"${price} a 1,000 tokens ({told['price_source']})",
            ),
            ("cost", None if told["cost_usd"] is None else f"${told['cost_usd']}"),
            ("time", None if seconds is None else f"{seconds:,.0f} s at {speed:,.0f} tokens a second, measured now"),
        )
    )


def _tell_made(made: Mapping[str, Any], out: Path | None) -> None:
    told = made["made"]
    dropped = {
        "unreadable": "unreadable", "pointing": "spoke of the passage or copied it", "alike": "nearly another one",
        "unanswerable": "not answered by the passage", "lost": "passage not found", "failed": "failed",
    }  # fmt: skip
    said = ", ".join(f"{told[name]:,} {words}" for name, words in dropped.items() if told[name])
    where = "" if out is None else f" in {out}"
    price = f"${told['cost_nano'] / 1e9:.6f}" + (f", {told['unpriced']:,} calls unpriced" if told["unpriced"] else "")
    say(f"{told['written']:,} questions{where} of {told['asked']:,} asked; dropped: {said or 'none'}; {price}")
    if "dataset" in made:
        say(f"Appended to dataset {made['dataset']}.")
    if told["ended"] != "done":
        say(f"It ended early: {told['ended']}", style="yellow")


def _row(each: Mapping[str, Any]) -> list[object]:
    about = "~" if each["estimated"] else ""
    few, every = each["passages"], each["whole"]
    fits = {True: "yes", False: f"no: needs {every['needed']:,}, has {each['context'] or 0:,}", None: "not known"}
    missing = "no price"
    return [
        each["model"],
        f"{about}{few['tokens']:,}",
        few["cost_usd"] or missing,
        f"{about}{every['tokens']:,}",
        every["cost_usd"] or missing,
        every["cached_cost_usd"] or "",
        "" if each["times"] is None else f"{each['times']:,}",
        fits[each["fits"]],
    ]
