"""How a load looks on a terminal: a live bar while it runs, then tables and plots."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import plotext
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn
from rich.text import Text

from loopwright.cli.quantities import seconds_text
from loopwright.cli.screen import Column, clip, console, say, show_facts, show_table
from loopwright.kit.load import Generator, Load, Sample
from loopwright.kit.load_report import Report, Spread, quantile

_RECENT = 200
"""Answers that the live figures look back on."""


class Live:
    """What a person sees while the load runs; nothing where nobody watches."""

    def __init__(self, load: Load, *, quiet: bool) -> None:
        self.load = load
        self.model = load.model
        self.busy = 0.0
        """Share of a core that the generator itself used."""
        self._screen = console(stderr=True)
        self._quiet = quiet
        self._shown = not quiet and self._screen.is_terminal
        self._answers = 0
        self._tokens = 0
        self._errors: Counter[str] = Counter()
        self._ttfts: list[float] = []
        self._noted: set[str] = set()
        self._begun = time.perf_counter()

    def heard(self, sample: Sample) -> None:
        """Count one answer."""
        self._answers += 1
        self._tokens += sample.output_tokens
        if sample.error is not None:
            self._errors[sample.error] += 1
        if sample.ttft is not None:
            self._ttfts.append(sample.ttft)
            del self._ttfts[:-_RECENT]

    def status(self, text: str) -> None:
        """A line that says what goes on."""
        if self._shown:
            say(f"{text} …", style="dim")

    def note(self, text: str) -> None:
        """A line that a person should read, once."""
        if text not in self._noted:
            self._noted.add(text)
            say(text, style="yellow")

    @contextlib.contextmanager
    def watching(self, generator: Generator) -> Iterator[None]:
        """A live bar around the measured part."""
        self._begun = time.perf_counter()
        columns: tuple[ProgressColumn, ...] = (
            SpinnerColumn(),
            BarColumn(bar_width=20),
            TextColumn("{task.percentage:>3.0f}%"),
            _Figures(self, generator),
        )
        with Progress(
            *columns, console=self._screen, disable=not self._shown, transient=True, refresh_per_second=4
        ) as progress:
            progress.add_task("load", total=1.0)
            yield

    def share(self) -> float:
        """How far the load is, 0 to 1: by requests or by time, whichever ends it first."""
        shares = [0.0]
        if self.load.requests:
            shares.append(self._answers / self.load.requests)
        if self.load.duration:
            shares.append((time.perf_counter() - self._begun) / self.load.duration)
        return min(max(shares), 1.0)

    def figures(self, in_flight: int) -> str:
        """The running totals in one line."""
        elapsed = max(time.perf_counter() - self._begun, 1e-9)
        parts = [f"{self._answers:,} answered", f"{in_flight} in flight", f"{self._tokens / elapsed:,.0f} tokens/s"]
        if self._ttfts:
            parts.append(f"TTFT p50 {seconds_text(quantile(sorted(self._ttfts), 0.5))}")
        if self._errors:
            parts.append(f"{sum(self._errors.values())} errors")
        return " · ".join(parts)


class _Figures(ProgressColumn):
    """The totals, and the bar's position with them: both are asked for at each refresh."""

    def __init__(self, live: Live, generator: Generator) -> None:
        super().__init__()
        self._live = live
        self._generator = generator

    def render(self, task: Task) -> Text:
        task.completed = self._live.share()
        return Text(self._live.figures(self._generator.in_flight))


def show_report(report: Report, live: Live) -> None:
    """Print the results."""
    load = live.load
    how = f"{load.rate:g} requests/s (Poisson)" if load.rate else f"{load.concurrency} at once"
    show_facts(
        [
            ("model", live.model),
            ("load", f"{how}, {'streamed' if load.stream else 'not streamed'}, {report.seconds:.1f} s"),
            ("answered", f"{report.answered:,} of {report.requests:,}"),
            ("requests/s", f"{report.requests_per_second:,.2f}"),
            ("tokens/s", f"{report.output_tokens_per_second:,.1f} out, {report.tokens_per_second:,.1f} in and out"),
            ("tokens", _tokens(report)),
            ("goodput", _goodput(report)),
        ]
    )
    columns = (
        Column(title=""),
        Column(title="mean", right=True, weight=1),
        *(Column(title=name, right=True) for name in ("p50", "p95", "p99")),
        Column(title="max", right=True, weight=2),
    )
    spreads = (
        ("TTFT", report.ttft),
        ("TPOT", report.tpot),
        ("inter-token", report.inter_token),
        ("end to end", report.latency),
    )
    say("")
    show_table(columns, [_row(name, spread) for name, spread in spreads if spread], empty="No request was answered.")
    if report.errors:
        rows = [(count, name, clip(report.examples.get(name, ""), 200)) for name, count in report.errors.items()]
        titles = (Column(title="errors", right=True), Column(title="class"), Column(title="for example", least=20))
        show_table(titles, rows, empty="")
    _warn(report, live)


def show_plots(samples: Sequence[Sample]) -> None:
    """Draw the spread of TTFT and its cumulated share, and latency over time."""
    answered = [sample for sample in samples if sample.error is None]
    if len(answered) < 5:
        return
    out = console()
    width = min(out.width, 100)
    if width < 40:
        return
    ttfts = [sample.ttft for sample in answered if sample.ttft is not None]
    first, name = (ttfts, "TTFT") if ttfts else ([sample.latency for sample in answered], "latency")
    scale, unit = _scale(first)
    values = sorted(value * scale for value in first)
    plots = [_histogram(values, f"{name}, {unit}: how many answers", width)]
    shares = [100 * (at + 1) / len(values) for at in range(len(values))]
    plots.append(_line(values, shares, f"{name}, {unit}: % of answers within", width, lines=True))
    scale, unit = _scale([sample.latency for sample in answered])
    points = [(sample.due, sample.latency * scale) for sample in answered]
    title = f"end-to-end latency, {unit}, over the seconds of the run"
    plots.append(_line([at for at, _ in points], [value for _, value in points], title, width, lines=False))
    for plot in plots:
        out.print()
        for line in plotext.uncolorize(plot).splitlines():
            out.print(Text(line.rstrip()))


def _histogram(values: Sequence[float], title: str, width: int) -> str:
    figure = _figure(title, width)
    figure.draw(figure.hist(list(values), bins=min(40, max(8, len(values) // 3))))
    return str(figure.build())


def _line(across: Sequence[float], up: Sequence[float], title: str, width: int, *, lines: bool) -> str:
    figure = _figure(title, width)
    signal = figure.signal(list(across), list(up), marker="braille")
    if lines:
        signal.lines(True)
    figure.draw(signal)
    return str(figure.build())


def _figure(title: str, width: int) -> Any:
    """The library has one figure; it is emptied for each plot."""
    figure = plotext.figure
    figure.clear()
    figure.theme("colorless")
    figure.plot_size(width, 12)
    figure.title(title)
    return figure


def _scale(seconds: Sequence[float]) -> tuple[float, str]:
    return (1000.0, "ms") if max(seconds) < 10 else (1.0, "s")


def _row(name: str, spread: Spread) -> list[object]:
    times = (spread.mean, spread.p50, spread.p95, spread.p99, spread.high)
    return [name, *(seconds_text(value) for value in times)]


def _tokens(report: Report) -> str:
    told = (
        f"{report.mean_prompt_tokens:.0f} prompt (asked {report.asked_prompt_tokens:.0f}), "
        if report.input_tokens
        else ""
    )
    told += f"{report.mean_output_tokens:.0f} answer, on average"
    return told if report.counted else told + " (the endpoint reports no usage: each event counted as one token)"


def _goodput(report: Report) -> str | None:
    if report.good is None or report.goodput is None:
        return None
    targets = ", ".join(f"{name} ≤ {seconds_text(value)}" for name, value in report.slo.items())
    share = report.good / report.requests if report.requests else 0.0
    return f"{report.goodput:,.2f} requests/s, {share:.1%} of all ({targets})"


def _warn(report: Report, live: Live) -> None:
    """What makes the numbers doubtful."""
    if live.busy > 0.8:
        live.note(f"The generator itself used {live.busy:.0%} of a core: it may have been the bottleneck.")
    if report.late and report.ttft and report.late.p99 > 0.1 * report.ttft.p50 and report.late.p99 > 0.005:
        live.note(f"Requests were sent up to {seconds_text(report.late.p99)} late (p99) by the generator itself.")
    asked, got = report.asked_prompt_tokens, report.mean_prompt_tokens
    if got and abs(got - asked) > 0.1 * asked + 5:
        live.note(f"Prompts had {got:.0f} tokens where {asked:.0f} were asked: --warmup calibrates them.")
