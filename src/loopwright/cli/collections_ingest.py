"""`loopwright collections ingest`: files, folders and URLs into a collection; only what the server lacks is sent."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final, Protocol

import typer
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from loopwright.cli.reach import ApiKey, Json, Project, Url, reach
from loopwright.cli.screen import clip, console, say, show_json
from loopwright.cli.sources import Found, Source, gathered
from loopwright.client import Client
from loopwright.core.errors import BadRequest
from loopwright.documents.limits import Limits
from loopwright.documents.records import Fields, Record
from loopwright.documents.records import records as read_records
from loopwright.documents.unreadable import Unreadable

_LONG: Final = 600.0
_ASKED: Final = 2_000
"""Files that are asked about at once."""
_TOGETHER: Final = 1_500_000
"""Bytes of small files that are sent at once."""
_URLS: Final = 20
_ROWS: Final = 500
_TITLE: Final = 1_000
_LOOK: Final = 0.3
_SELDOM: Final = 2.0
"""Seconds between two looks, at first and at last."""
_SHOWN: Final = 50
"""Files that failed, in a listing for people."""
Name = Annotated[str, typer.Argument(help="The collection.", metavar="COLLECTION")]


class Telling(Protocol):
    """Hears what is being done and how far it is."""

    def __call__(self, doing: str, done: int, of: int | None, what: str = "") -> None:
        """`what` is what it is about now."""
        ...


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What became of everything."""

    counts: Counter[str] = field(default_factory=Counter)
    failed: dict[str, str] = field(default_factory=dict)
    """Reasons by name."""
    deleted: int = 0
    waiting: int = 0
    """Documents that are not yet read."""

    def take(self, answer: dict[str, Any]) -> None:
        """Note what the server said of some."""
        for each in answer["documents"]:
            if each["outcome"] == "refused":
                self.failed[each["name"]] = each["reason"]
            else:
                self.counts[each["outcome"]] += 1

    def shown(self) -> dict[str, Any]:
        """As JSON."""
        names = ("added", "changed", "relabelled", "unchanged")
        failed = [{"name": name, "reason": reason} for name, reason in sorted(self.failed.items())]
        return {
            **{name: self.counts[name] for name in names},
            "deleted": self.deleted,
            "waiting": self.waiting,
            "failed": failed,
        }


def ingest(
    name: Name,
    sources: Annotated[list[str], typer.Argument(help="Files, folders, URLs.", metavar="SOURCES...")],
    *,
    glob: Annotated[list[str] | None, typer.Option(help="Of folders only what fits: *.md; repeat for more.")] = None,
    exclude: Annotated[list[str] | None, typer.Option(help="Of folders not what fits; repeat for more.")] = None,
    prefix: Annotated[str, typer.Option(help="Goes before the names of files.")] = "",
    label: Annotated[
        list[str] | None, typer.Option(help="Only keys with this label find them; repeat for more.")
    ] = None,
    metadata: Annotated[
        list[str] | None, typer.Option(help="Said of each; repeat for more.", metavar="NAME=VALUE")
    ] = None,
    rows: Annotated[
        bool, typer.Option("--rows", help="Files are tables, JSON or JSON lines: a document for each row, by its id.")
    ] = False,
    text: Annotated[str | None, typer.Option(help="Of rows the field with the text; else the first known.")] = None,
    title: Annotated[str | None, typer.Option(help="Of rows the field with the title.")] = None,
    id_: Annotated[str | None, typer.Option("--id", help="Of rows the field with the id.")] = None,
    prune: Annotated[
        bool, typer.Option("--prune", help="Take out what came as a file, begins with the prefix and is not there now.")
    ] = False,
    wait: Annotated[bool, typer.Option(help="Wait until all can be found.")] = True,
    project: Project = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Take files, folders and URLs into a collection. Only what is new or other than it was is sent and read.

    Run it again after whatever interrupted it. What cannot be read is listed with the reason at the end, and the exit
    code is 1.
    """
    urls = [each for each in sources if each.startswith(("http://", "https://"))]
    found = gathered(
        [Path(each) for each in sources if each not in urls], globs=glob or (), excluded=exclude or (), prefix=prefix
    )
    if prune and (urls or rows or found.bad or not found.sources):
        raise BadRequest(
            "--prune needs files, not rows or URLs, that could all be looked at: nothing was deleted", param="--prune"
        )
    said = {"labels": label or [], "metadata": pairs(metadata)}
    outcome = Outcome(failed=dict(found.bad))
    with reach(url, api_key, timeout=_LONG) as client, bar(quiet=as_json) as told:
        sending = _Sending(client, name, project, said, outcome, told)
        if rows:
            sending.send_rows(found, Fields(text=text, title=title, id=id_), prefix)
        else:
            sending.send(found)
        sending.fetch(urls)
        if prune:
            outcome.deleted = client.prune_documents(
                name, [each.name for each in found.sources], prefix=prefix, project=project
            )
        if wait:
            _wait(client, name, project, outcome, told)
            _look_for_failures(client, name, project, sending.names, outcome)
        else:
            outcome.waiting = client.collection_progress(name, project=project)["waiting"]
    _show(name, outcome, as_json=as_json)


def pairs(given: Sequence[str] | None) -> dict[str, Any]:
    """`NAME=VALUE` each; numbers, `true`, `false` and `null` are what they say.

    Raises:
        BadRequest: one has no `=`.
    """
    found: dict[str, Any] = {}
    for each in given or ():
        name, equals, value = each.partition("=")
        if not name or not equals:
            raise BadRequest(f"--metadata: {each!r} is not of the form NAME=VALUE", param="--metadata")
        try:
            read = json.loads(value)
        except ValueError:
            read = value
        found[name] = value if isinstance(read, dict | list) else read
    return found


class _Sending:
    """Sends what the server lacks."""

    def __init__(
        self, client: Client, name: str, project: str | None, said: dict[str, Any], outcome: Outcome, told: Telling
    ) -> None:
        self._client = client
        self._name = name
        self._project = project
        self._said = said
        self._outcome = outcome
        self._told = told
        self.names: set[str] = set()
        """Of all documents that are meant."""
        limits = client.collection(name, project=project)["limits"]
        self._small: int = limits["small_bytes"]
        self._most: int = limits["file_bytes"]
        self._together = min(_TOGETHER, int(limits.get("together_bytes", _TOGETHER)))

    def send(self, found: Found) -> None:
        """Ask which files are wanted, and send those."""
        every = [each for each in found.sources if self._fits(each)]
        self.names |= {each.name for each in every}
        for start in range(0, len(every), _ASKED):
            group = every[start : start + _ASKED]
            having = []
            for at, source in enumerate(group, start + 1):
                try:
                    having.append({"name": source.name, "sha": source.sha()})
                except OSError as error:
                    self._outcome.failed[source.name] = f"cannot be read: {error.strerror}"
                self._told("looking", at, len(every), source.name)
            lacking = set(self._client.lacking_documents(self._name, having, project=self._project, **self._said))
            self._outcome.counts["unchanged"] += len(having) - len(lacking)
            self._send([source for source in group if source.name in lacking])

    def fetch(self, urls: Sequence[str]) -> None:
        """Have the server fetch URLs."""
        for start in range(0, len(urls), _URLS):
            self._told("fetching", start, len(urls))
            self.names.update(urls)
            some = [*urls[start : start + _URLS]]
            try:
                answer = self._client.add_documents(self._name, project=self._project, urls=some, **self._said)
            except BadRequest as error:
                self._outcome.failed |= dict.fromkeys(some, error.message)
            else:
                self._outcome.take(answer)

    def send_rows(self, found: Found, fields: Fields, prefix: str) -> None:
        """Send the rows of files, each as a record by its id; the server tells those that it has as they are."""
        for source in found.sources:
            try:
                data = source.path.read_bytes()
                records = read_records(data, source.name, fields=fields, limits=Limits(size=len(data)))
            except (OSError, Unreadable) as error:
                self._outcome.failed[source.name] = error.reason if isinstance(error, Unreadable) else str(error)
                continue
            for start in range(0, len(records), _ROWS):
                self._told("sending", start, len(records), source.name)
                group = [_record(each, prefix, self._said["metadata"]) for each in records[start : start + _ROWS]]
                self.names |= {each["id"] for each in group}
                try:
                    answer = self._client.add_documents(
                        self._name, project=self._project, records=group, labels=self._said["labels"]
                    )
                except BadRequest as error:
                    self._outcome.failed |= {each["id"]: error.message for each in group}
                else:
                    self._outcome.take(answer)

    def _fits(self, source: Source) -> bool:
        if source.size > self._most:
            why = f"has {source.size:,} bytes, the limit is {self._most:,} (collections.upload_limit)"
            self._outcome.failed[source.name] = why
        return source.size <= self._most

    def _send(self, sources: Sequence[Source]) -> None:
        for at, group in enumerate(_groups(sources, self._small, self._together), 1):
            self._told("sending", at, None, group[0].name)
            if len(group) == 1 and group[0].size > self._small:
                self._large(group[0])
                continue
            files = []
            for source in group:
                try:
                    files.append({"name": source.name, "data": source.path.read_bytes()})
                except OSError as error:
                    self._outcome.failed[source.name] = f"cannot be read: {error.strerror}"
            self._outcome.take(self._client.add_documents(self._name, project=self._project, files=files, **self._said))

    def _large(self, source: Source) -> None:
        try:
            answer = self._client.add_document(
                self._name,
                source.path,
                project=self._project,
                name=source.name,
                labels=",".join(self._said["labels"]),
                metadata=json.dumps(self._said["metadata"]),
            )
        except OSError as error:
            self._outcome.failed[source.name] = f"cannot be read: {error.strerror}"
        except BadRequest as error:
            self._outcome.failed[source.name] = error.message
        else:
            self._outcome.take(answer)


def _record(record: Record, prefix: str, metadata: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": prefix + record.id,
        "text": record.text,
        "title": record.title[:_TITLE],
        "metadata": {**record.metadata, **metadata},
    }


def _groups(sources: Sequence[Source], small: int, together: int) -> Iterator[list[Source]]:
    """Small files together, each large one alone."""
    group: list[Source] = []
    size = 0
    for source in sources:
        if source.size > small:
            yield [source]
            continue
        if group and (size + source.size > together or len(group) == _ASKED):
            yield group
            group, size = [], 0
        group.append(source)
        size += source.size
    if group:
        yield group


def _wait(client: Client, name: str, project: str | None, outcome: Outcome, told: Telling) -> None:
    """Until nothing of the collection waits to be read."""
    most, problem, pause = 0, "", _LOOK
    try:
        while (progress := client.collection_progress(name, project=project))["waiting"]:
            most = max(most, progress["waiting"])
            told("reading", most - progress["waiting"], most, progress["problem"] or "")
            if progress["problem"] and progress["problem"] != problem:
                problem = progress["problem"]
                say(problem, style="yellow")
            time.sleep(pause)
            pause = min(pause * 1.2, _SELDOM)
    except KeyboardInterrupt:
        outcome.waiting = progress["waiting"]
        say("The rest is read in the background: `loopwright collections show` says how far it is.", style="yellow")


def _look_for_failures(client: Client, name: str, project: str | None, names: set[str], outcome: Outcome) -> None:
    after: str | None = None
    while True:
        page = client.documents(name, project=project, state="failed", after=after, limit=1000)
        outcome.failed |= {each["name"]: each["reason"] for each in page["documents"] if each["name"] in names}
        after = page["next"]
        if after is None:
            return


def _show(name: str, outcome: Outcome, *, as_json: bool) -> None:
    shown = outcome.shown()
    if as_json:
        show_json(shown)
    else:
        counted = ("added", "changed", "relabelled", "deleted", "unchanged", "waiting")
        told = ", ".join(f"{shown[each]:,} {each}" for each in counted if shown[each]) or "nothing"
        say(f"{name}: {told}", style="green")
        for each in shown["failed"][:_SHOWN]:
            say(f"  {clip(each['name'], 60)}: {each['reason']}", style="yellow")
        if len(shown["failed"]) > _SHOWN:
            say(
                f"  … and {len(shown['failed']) - _SHOWN:,} more: `loopwright collections documents {name} --state failed`"
            )
    if shown["failed"]:
        raise typer.Exit(1)


@contextmanager
def bar(*, quiet: bool) -> Iterator[Telling]:
    """A bar on stderr with rate and time to go; nothing where nobody watches."""
    screen = console(stderr=True)
    columns = (
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[count]}"),
        TimeElapsedColumn(), TextColumn("to go"), TimeRemainingColumn(), TextColumn("{task.fields[what]}"),
    )  # fmt: skip
    with Progress(*columns, console=screen, transient=True, disable=quiet or not screen.is_terminal) as shown:
        task = shown.add_task("", total=None, count="", what="")
        doing_now = ""

        def told(doing: str, done: int, of: int | None, what: str = "") -> None:
            nonlocal doing_now
            if doing != doing_now:
                doing_now = doing
                shown.reset(task, total=of, description=doing, count="", what="")
            speed = shown.tasks[0].finished_speed or shown.tasks[0].speed
            rate = "" if not speed else f" {speed:,.1f}/s"
            count = f"{done:,}" if of is None else f"{done:,}/{of:,}"
            shown.update(task, completed=done, total=of, count=count + rate, what=clip(what, 40))

        yield told
