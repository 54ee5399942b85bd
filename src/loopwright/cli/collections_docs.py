"""`loopwright collections docs`: Loopwright's own documentation as a collection, for an assistant that answers from it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

import loopwright
from loopwright.cli.collections_ingest import ingest
from loopwright.cli.reach import ApiKey, Json, Project, Url, reach
from loopwright.cli.screen import say
from loopwright.core.errors import Conflict, NotFound

NAME: Final = "loopwright-docs"
_ABOUT: Final = "Loopwright's own documentation"
_PACKAGED: Final = "handbook"
"""Folder of the package that wheels carry the pages in."""


def docs(
    name: Annotated[
        str, typer.Argument(help="The collection, made if it is not there.", metavar="[COLLECTION]")
    ] = NAME,
    *,
    wait: Annotated[bool, typer.Option(help="Wait until all can be found.")] = True,
    project: Project = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Make a collection of Loopwright's own documentation, or bring it up to this release."""
    folder = documentation()
    with reach(url, api_key) as client:
        try:
            made = client.create_collection(
                name, project=project, description=_ABOUT, chunking={"by": "headings", "tokens": 160, "overlap": 16}
            )
        except Conflict:
            pass
        else:
            if not as_json:
                say(f"Made collection {name} with vectors of {made['embedder']}.", style="green")
    ingest(
        name,
        [str(folder)],
        glob=["*.md"],
        prefix="docs/",
        label=None,
        metadata=None,
        prune=True,
        wait=wait,
        project=project,
        url=url,
        api_key=api_key,
        as_json=as_json,
    )


def documentation() -> Path:
    """The folder of the documentation: what the wheel carries, else that of the checkout.

    Raises:
        NotFound: this installation has none.
    """
    package = Path(loopwright.__file__).parent
    for folder in (package / _PACKAGED, package.parent.parent / "docs"):
        if (folder / "architecture.md").is_file():
            return folder
    raise NotFound("this installation carries no documentation: install the wheel, or work from a checkout")
