"""Where the running server is and with which key to talk to it: options, then the environment, then loopwright.yaml."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from loopwright.client import Client
from loopwright.core.errors import NotFound
from loopwright.kit.settings import Settings
from loopwright.kit.settings_file import examine, load

Url = Annotated[
    str | None,
    typer.Option(
        "--url", envvar="LOOPWRIGHT_URL", help="Where it listens; else what loopwright.yaml says.", metavar="URL"
    ),
]
ApiKey = Annotated[
    str | None,
    typer.Option(
        "--api-key",
        envvar="LOOPWRIGHT_API_KEY",
        help="Key to use; else the data folder's admin.key.",
        metavar="KEY",
        show_envvar=True,
    ),
]
Project = Annotated[str | None, typer.Option(help="Of this project; only administrators may name another's.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Config = Annotated[
    Path | None,
    typer.Option(
        "--config", envvar="LOOPWRIGHT_CONFIG", help="The configuration; else ./loopwright.yaml.", metavar="FILE"
    ),
]


def reach(url: str | None, api_key: str | None, *, timeout: float = 60.0, settings: Settings | None = None) -> Client:
    """A client of the server that is meant; `settings` when they are read already.

    Raises:
        SettingsError: neither option nor environment says where it is, and the configuration does not either.
    """
    if url and api_key:
        return Client(url, api_key, timeout=timeout)
    settings = settings or _place()
    host = settings.server.host
    here = "127.0.0.1" if host in {"0.0.0.0", ""} else "[::1]" if host == "::" else f"[{host}]" if ":" in host else host  # noqa: S104 - reading, not binding
    return Client(url or f"http://{here}:{settings.server.port}", api_key, home=settings.home, timeout=timeout)


def numbered(listed: Callable[[], Iterable[Mapping[str, Any]]], which: str, by: str) -> int:
    """The number of what a person named: the number itself, or that of the one `listed` whose `by` is `which`.

    Raises:
        NotFound: there is none, or there are several.
    """
    if which.isascii() and which.isdigit():
        return int(which)
    found = [int(each["id"]) for each in listed() if each[by] == which]
    if len(found) == 1:
        return found[0]
    numbers = ", ".join(str(number) for number in found)
    raise NotFound(f"there are several of {which[:80]!r}: {numbers}" if found else f"there is none of {which[:80]!r}")


def _place() -> Settings:
    """The settings, of which only `server` and `home` have to be right.

    A shell beside the server's has none of the secrets that its providers and channels name.
    """
    examined = examine(env=os.environ)
    needed = ("", "server", "home")
    if any(each.source == "environment" or each.key.partition(".")[0] in needed for each in examined.problems):
        return load(env=os.environ)
    return examined.settings
