"""`loopwright charts`: measures of calls over time, in the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Final

import plotext
import typer
from rich.text import Text

from loopwright.cli.keys import find
from loopwright.cli.quantities import moment_of
from loopwright.cli.reach import ApiKey, Json, Url, reach
from loopwright.cli.screen import Column, clip, console, say, show_json, show_table
from loopwright.client import Client

app = typer.Typer(
    help="Calls over time: any measure, split and compared; dashboards.", no_args_is_help=True, add_completion=False
)
_MARKERS: Final = ("●", "▲", "■", "◆", "○", "△", "□", "◇", "+")
_UNITS: Final = ((86_400, "days"), (3600, "hours"), (60, "minutes"), (0, "seconds"))
_PLAIN: Final = (
    "model", "provider", "target", "operation", "task", "variant", "prompt_version", "client", "session", "tag",
    "outcome", "error_code", "without",
)  # fmt: skip


@app.command("show")
def show(
    measure: Annotated[str, typer.Argument(help="A measure: `loopwright charts measures` lists them.")] = "requests",
    *,
    split: Annotated[str | None, typer.Option(help="By model, key, client … or tag:NAME.")] = None,
    since: Annotated[str, typer.Option(help="Not older than: 2h, 7d, or a date.", metavar="TIME")] = "24h",
    until: Annotated[str | None, typer.Option(help="Not newer than: 2h, 7d, or a date.", metavar="TIME")] = None,
    compare: Annotated[
        str | None, typer.Option(help="Beside an earlier time: previous, 24h, 7d.", metavar="AGO")
    ] = None,
    top: Annotated[int, typer.Option(min=1, max=50, help="Groups to tell apart.")] = 6,
    points: Annotated[int, typer.Option(min=1, max=500, help="Steps at most.")] = 60,
    model: Annotated[str | None, typer.Option(help="Only calls of this model.")] = None,
    provider: Annotated[str | None, typer.Option(help="Only calls to this provider.")] = None,
    target: Annotated[str | None, typer.Option(help="Only calls that this model of a provider answered.")] = None,
    operation: Annotated[str | None, typer.Option(help="Only chat, embeddings …")] = None,
    task: Annotated[str | None, typer.Option(help="Only calls of this task.")] = None,
    variant: Annotated[str | None, typer.Option(help="Only calls of this variant.")] = None,
    prompt_version: Annotated[str | None, typer.Option(help="Only calls with this version of a prompt.")] = None,
    key: Annotated[str | None, typer.Option(help="Only calls with this key: id, prefix or name.")] = None,
    client: Annotated[str | None, typer.Option(help="Only calls of this program.")] = None,
    session: Annotated[str | None, typer.Option(help="Only calls of this session.")] = None,
    tag: Annotated[
        list[str] | None, typer.Option(help="Only calls with this tag; repeatable, all hold.", metavar="NAME:VALUE")
    ] = None,
    outcome: Annotated[str | None, typer.Option(help="ok, error, refused, cancelled, interrupted or failed.")] = None,
    error_code: Annotated[str | None, typer.Option(help="Only calls that failed with this code.")] = None,
    without: Annotated[str | None, typer.Option(help="Only calls without: task, session, tag:NAME …")] = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Draw a measure over time, and tell its totals."""
    told = locals()
    with reach(url, api_key) as asked:
        where: dict[str, Any] = {name: told[name] for name in _PLAIN}
        where["key"] = None if key is None else _key_id(asked, key)
        where["since"], where["until"] = moment_of(since, "--since"), moment_of(until, "--until")
        chart = asked.chart(measure, split=split, compare=compare, top=top, points=points, **where)
    if as_json:
        show_json(chart)
        return
    for each in chart["measures"]:
        _draw(chart, each)
        show_table(_columns(each, chart), _rows(chart, each), empty="No calls in this time.")
    if chart["read_since"]:
        say(
            f"Counted from the newest calls, since {chart['read_since']}: choose a shorter time for all.",
            style="yellow",
        )


@app.command("measures")
def measures(*, url: Url = None, api_key: ApiKey = None, as_json: Json = False) -> None:
    """List what can be drawn."""
    with reach(url, api_key) as client:
        found = client.measures()
    if as_json:
        show_json(found)
        return
    columns = [Column(title="measure"), Column(title="what"), Column(title="unit"), Column(title="", weight=1)]
    show_table(columns, [[each["name"], each["title"], each["unit"], each["about"]] for each in found], empty="None.")


@app.command("dashboards")
def dashboards(*, url: Url = None, api_key: ApiKey = None, as_json: Json = False) -> None:
    """List dashboards that are kept."""
    with reach(url, api_key) as client:
        found = client.dashboards()
    if as_json:
        show_json(found)
        return
    columns = [
        Column(title="name"),
        Column(title="charts", weight=1, least=20),
        Column(title="by"),
        Column(title="changed"),
    ]
    rows = [[each["name"], " ".join(each["panels"]), each["made_by"], str(each["changed_at"])[:16]] for each in found]
    show_table(columns, rows, empty="No dashboard is kept: open /dashboards, choose charts, and keep them.")


@app.command("forget")
def forget(
    name: Annotated[str, typer.Argument(help="A dashboard's name.")],
    *,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Forget a dashboard; the calls stay."""
    with reach(url, api_key) as client:
        client.delete_dashboard(name)
    say(f"Forgot {clip(name)}.", style="green")


def _key_id(client: Client, which: str) -> int:
    return int(which) if which.isdigit() else int(find(client, which)["id"])


def _groups(chart: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What is drawn: groups and the rest, or all."""
    groups = list(chart["groups"])
    if chart["rest"]:
        groups.append({**chart["rest"], "label": f"{chart['others']} more"})
    if chart["split"] is None:
        groups = [{**chart["total"], "label": "this time" if chart["before"] else "all"}]
        if chart["before"]:
            groups.append({**chart["before"]["total"], "label": "time before"})
    return groups


def _draw(chart: Mapping[str, Any], measure: Mapping[str, Any]) -> None:
    out = console()
    width = min(out.width, 110)
    if width < 40 or not chart["total"]["requests"]:
        return
    figure = plotext.figure
    figure.clear()
    figure.theme("colorless")
    figure.plot_size(width, 16)
    size, unit = next(each for each in _UNITS if len(chart["times"]) * chart["step_seconds"] >= 3 * each[0])
    figure.title(f"{measure['title']}, {measure['unit']}, over {unit} before the end")
    last = len(chart["times"])
    across = [(at + 0.5 - last) * chart["step_seconds"] / (size or 1) for at in range(last)]
    highest = max(
        (float(value) for group in _groups(chart) for value in group["values"][measure["name"]] if value is not None),
        default=0.0,
    )
    # Without bounds, a line at zero stands between -1 and 1, and ticks fall on odd parts of an hour.
    upward = figure.ruler("y", 0)
    upward.lim(0, highest * 1.05 or 1)
    if highest >= 1000:  # it would tell them as powers of ten
        levels = [int(float(f"{highest * each / 4:.2g}")) for each in range(5)]
        upward.ticks(levels, [f"{level:,}" for level in levels])
    span = last * chart["step_seconds"] / (size or 1)
    ticks = _ticks(span)
    across_ruler = figure.ruler("x", 0)
    across_ruler.lim(-span, 0)
    across_ruler.ticks([-tick for tick in ticks], [f"-{tick}" if tick else "0" for tick in ticks])
    for place, group in enumerate(_groups(chart)):
        values = group["values"][measure["name"]]
        known = [(at, value) for at, value in enumerate(values) if value is not None]
        if not known:
            continue
        signal = figure.signal(
            [across[at] for at, _ in known],
            [float(value) for _, value in known],
            marker=_MARKERS[place % len(_MARKERS)],
        )
        figure.draw(signal)
    for line in plotext.uncolorize(str(figure.build())).splitlines():
        out.print(Text(line.rstrip()))
    step = int(chart["step_seconds"])
    say(f"{_time(chart['since'])} to {_time(chart['until'])}, steps of {_length(step)}", style="dim")


def _ticks(span: float) -> list[int]:
    """Round numbers from 0 to `span`, eight at most."""
    step = next((each for each in (1, 2, 3, 5, 6, 10, 12, 24, 30, 60, 100) if span / each <= 8), max(int(span / 8), 1))
    return list(range(0, int(span) + 1, step))


def _columns(measure: Mapping[str, Any], chart: Mapping[str, Any]) -> list[Column]:
    columns = [Column(title=""), Column(title=chart["split"] or "", weight=1, least=12)]
    columns += [Column(title=measure["title"], right=True), Column(title="requests", right=True)]
    return [*columns, Column(title="before", right=True)] if chart["before"] else columns


def _rows(chart: Mapping[str, Any], measure: Mapping[str, Any]) -> list[Sequence[object]]:
    name, unit = measure["name"], measure["unit"]
    earlier = {each["label"]: each for each in (chart["before"] or {}).get("groups", ())}
    rows: list[Sequence[object]] = []
    for place, group in enumerate(_groups(chart)):
        row: list[object] = [
            _MARKERS[place % len(_MARKERS)],
            clip(group["label"], 60),
            _said(group["totals"][name], unit),
        ]
        row.append(f"{group['requests']:,}")
        if chart["before"]:
            before = earlier.get(group["label"])
            row.append("" if before is None else _said(before["totals"][name], unit))
        rows.append(row)
    return rows if chart["total"]["requests"] or chart["before"] else []


def _said(value: float | None, unit: str) -> str:
    if value is None:
        return "–"  # noqa: RUF001
    if unit == "usd":
        return f"${value:,.4g}" if abs(value) < 100 else f"${value:,.2f}"
    if unit == "share":
        return f"{value:.2%}"
    return f"{value:,.4g} ms" if unit == "ms" else f"{value:,.0f}" if float(value).is_integer() else f"{value:,.4g}"


def _time(text: str) -> str:
    return f"{datetime.fromisoformat(text):%Y-%m-%d %H:%M}"


def _length(seconds: int) -> str:
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds % size == 0:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
