"""A bar for a download; nothing where nobody watches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from loopwright.cli.screen import clip, console


@contextmanager
def download_bar(title: str, *, quiet: bool) -> Iterator[Callable[[int, int | None], None]]:
    """Gives a function to tell (bytes so far, bytes in all or None); the bar goes when the block ends."""
    screen = console(stderr=True)
    columns = (
        TextColumn(clip(title, 40), markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=screen, transient=True, disable=quiet or not screen.is_terminal) as progress:
        task = progress.add_task("download", total=None)

        def told(done: int, whole: int | None) -> None:
            progress.update(task, completed=done, total=whole)

        yield told
