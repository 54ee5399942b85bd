"""`loopwright collections calibrate`: how much evidence of a collection is enough for an answer."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from loopwright.cli.collections_ingest import Name
from loopwright.cli.quantities import local_text
from loopwright.cli.reach import ApiKey, Json, Project, Url, reach
from loopwright.cli.screen import Column, say, show_json, show_table
from loopwright.core.errors import BadRequest


def calibrate(
    name: Name,
    *,
    queries: Annotated[
        Path | None,
        typer.Option(
            "--file",
            help="Questions of your own, JSON lines of `query` and `answered` (true or false); else some are made of its texts.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    miss: Annotated[float, typer.Option(help="Share of the questions with an answer that may be refused.")] = 0.05,
    show: Annotated[bool, typer.Option("--show", help="Only show what holds now.")] = False,
    project: Project = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Fit the evidence from which on a collection is taken to hold an answer."""
    asked = None if queries is None else list(_read(queries))
    with reach(url, api_key) as client:
        if show:
            made = client.collection_calibration(name, project=project)
        else:
            made = client.calibrate_collection(name, queries=asked, miss=miss, project=project)
    if as_json:
        show_json({"calibration": made})
    elif made is None:
        say(f"{name} is not calibrated.")
    else:
        _show(name, made)


def _show(name: str, made: Mapping[str, Any]) -> None:
    source = "questions of yours" if made["source"] == "file" else "questions made of its texts"
    say(f"{name}, by {made['queries']} {source}, {local_text(made['made_at'])}:")
    columns = (
        Column(title="mode"),
        Column(title="threshold", right=True),
        Column(title="answers it misses", right=True),
        Column(title="near misses it lets pass", right=True),
        Column(title="of other fields", right=True),
    )
    rows = [
        [mode, f"{fit['threshold']:.3f}", f"{fit['missed']:.1%}", f"{fit['passed']:.1%}", _share(fit["astray"])]
        for mode, fit in made["modes"].items()
    ]
    show_table(columns, rows, empty="")


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _read(path: Path) -> Iterator[dict[str, Any]]:
    """The questions of a file.

    Raises:
        BadRequest: a line is not one; says which.
    """
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            told = json.loads(line)
        except ValueError as error:
            raise BadRequest(f"{path}:{number}: not JSON: {error}") from None
        query = told.get("query") if isinstance(told, dict) else None
        if not isinstance(query, str) or not isinstance(told.get("answered"), bool):
            raise BadRequest(f"{path}:{number}: needs `query` (a text) and `answered` (true or false)")
        yield {"query": query, "answered": told["answered"]}
