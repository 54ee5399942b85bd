"""`loopwright alerts`: what is wrong and why, who was told, and of what nobody is to be told for a while."""

from __future__ import annotations

import time
from typing import Annotated, Final

import typer

from loopwright.cli.quantities import local_text, seconds_of
from loopwright.cli.reach import ApiKey, Json, Project, Url, reach
from loopwright.cli.screen import (
    Column,
    clean,
    clip,
    console,
    say,
    show_done,
    show_facts,
    show_json,
    show_rows,
    show_table,
)
from loopwright.core.errors import BadRequest, LoopwrightError

app = typer.Typer(
    help="What is wrong and why, who was told: list, show, silence, test.", no_args_is_help=True, add_completion=False
)
Which = Annotated[int, typer.Argument(help="Number of an alert.", metavar="ALERT")]
_STATES: Final = "firing, open, acknowledged, resolved, all"
_COLUMNS: Final = (
    Column(title="id", right=True),
    Column(title="severity"),
    Column(title="state"),
    Column(title="title", least=30),
    Column(title="project", weight=2),
    Column(title="since", weight=1),
)
_WAIT: Final = 45.0
_PAUSE: Final = 0.5


@app.command("list")
def list_alerts(
    *,
    state: Annotated[str, typer.Option(help=f"{_STATES}.")] = "firing",
    severity: Annotated[str | None, typer.Option(help="info, warning or critical.")] = None,
    source: Annotated[str | None, typer.Option(help="objective, rule, anomaly, budget, drift, canary.")] = None,
    rule: Annotated[str | None, typer.Option(help="Of this objective or rule.")] = None,
    before: Annotated[int | None, typer.Option(help="The page after this alert: `next` of --json.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=200, help="At most so many.")] = 50,
    project: Project = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """List alerts, newest first; by default those that are firing."""
    where: dict[str, str | int | None] = {"state": state, "severity": severity, "source": source, "rule": rule}
    with reach(url, api_key) as client:
        page = client.alerts(**where, before=before, limit=limit, project=project)
    if as_json:
        show_json(page)
        return
    rows = [
        [
            each["id"],
            each["severity"],
            each["state"],
            clip(each["title"], 110),
            each["project"],
            local_text(each["since"]),
        ]
        for each in page["alerts"]
    ]
    show_table(_COLUMNS, rows, empty="Nothing is firing." if state == "firing" else "There are no such alerts.")
    if page["next"]:
        say(f"There are more: --before {page['next']}", style="dim")


@app.command("show")
def show(which: Which, *, url: Url = None, api_key: ApiKey = None, as_json: Json = False) -> None:
    """Show one alert: what it says, what explains it with the evidence, who was told."""
    with reach(url, api_key) as client:
        found = client.alert(which)
        address = client.url
    if as_json:
        show_json(found)
        return
    alert, explanation = found["alert"], found["explanation"]
    out = console()
    out.print(clean(alert["title"]), style="bold")
    out.print(clean(alert["text"]))
    told = ", ".join(f"{each['channel']} ({each['event']}, {each['state']})" for each in found["notices"][:5])
    show_facts(
        [
            ("state", f"{alert['severity']}, {alert['state']}"),
            ("since", local_text(alert["since"])),
            ("over", alert["resolved_at"] and local_text(alert["resolved_at"])),
            ("acknowledged by", alert["acknowledged_by"]),
            ("labels", ", ".join(f"{name}={value}" for name, value in alert["labels"].items())),
            ("told", told or "nobody"),
            ("calls", alert["calls_query"] and f"{address}/calls?{alert['calls_query']}"),
            ("page", f"{address}/alerts/{alert['id']}"),
        ]
    )
    if explanation is None:
        return
    out.print("\nWhat explains it", style="bold")
    for line in explanation["sentences"]:
        out.print(f"• {clean(line)}")
    columns = (
        Column(title="what", least=20),
        Column(title="of the change", right=True),
        Column(title="of the calls", right=True),
        Column(title="now", right=True),
        Column(title="before", right=True),
        Column(title="calls such as", weight=1),
    )
    rows = [
        [
            clip(each["name"], 50), f"{100 * each['contribution']:.0f} %", f"{100 * each['traffic']:.0f} %",
            each["now"]["text"], each["before"]["text"], next(iter(each["examples"]), ""),
        ]
        for each in explanation["causes"]
    ]  # fmt: skip
    if rows:
        show_table(columns, rows, empty="")


@app.command("ack")
def acknowledge(which: Which, *, url: Url = None, api_key: ApiKey = None, as_json: Json = False) -> None:
    """Say that you have seen it: no more reminders."""
    with reach(url, api_key) as client:
        alert = client.acknowledge_alert(which)
    show_done(alert, f"Alert {which} is acknowledged by {alert['acknowledged_by']}.", as_json=as_json)


@app.command("resolve")
def resolve(which: Which, *, url: Url = None, api_key: ApiKey = None, as_json: Json = False) -> None:
    """Say that it is over; should it still hold, it is raised anew."""
    with reach(url, api_key) as client:
        alert = client.resolve_alert(which)
    show_done(alert, f"Alert {which} is resolved.", as_json=as_json)


@app.command("silence")
def silence(
    matchers: Annotated[
        list[str],
        typer.Argument(
            help="Labels that alerts must all have: `model=gpt-*`; * is any text.", metavar="LABEL=PATTERN…"
        ),
    ],
    *,
    until: Annotated[str, typer.Option("--for", help="How long: 2h, 3d.", metavar="TIME")] = "2h",
    reason: Annotated[str, typer.Option(help="Why, for the others.")] = "",
    every_project: Annotated[bool, typer.Option(help="Alerts of all projects.")] = False,
    project: Project = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Have nobody told of some alerts for a while; they are raised and shown all the same."""
    wanted: dict[str, str] = {}
    for each in matchers:
        name, equals, pattern = each.partition("=")
        if not equals or not name or not pattern:
            raise BadRequest(f"{each!r} is no matcher: write LABEL=PATTERN, as in model=gpt-*", param="LABEL=PATTERN")
        wanted[name] = pattern
    with reach(url, api_key) as client:
        made = client.silence(
            wanted, seconds_of(until, "--for"), reason=reason, every_project=every_project, project=project
        )
    show_done(made, f"Silence {made['id']} holds until {local_text(made['ends_at'])}.", as_json=as_json)


@app.command("silences")
def silences(
    *,
    ended: Annotated[bool, typer.Option(help="Also those of the past.")] = False,
    project: Project = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """List silences that hold."""
    with reach(url, api_key) as client:
        found = client.silences(ended=ended, project=project)
    columns = (
        Column(title="id", right=True),
        Column(title="matches", least=20),
        Column(title="until"),
        Column(title="by"),
        Column(title="reason", least=10, weight=1),
    )
    rows = (
        [
            each["id"], ", ".join(f"{name}={pattern}" for name, pattern in each["matchers"].items()),
            local_text(each["ends_at"]), each["made_by"], clip(each["reason"], 60),
        ]
        for each in found
    )  # fmt: skip
    show_rows(
        {"silences": found}, columns, rows, as_json=as_json, empty="No silences. `loopwright alerts silence` makes one."
    )


@app.command("unsilence")
def unsilence(
    which: Annotated[int, typer.Argument(help="Number of a silence.", metavar="SILENCE")],
    *,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """End a silence now; what still fires is told."""
    with reach(url, api_key) as client:
        ended = client.end_silence(which)
    show_done(ended, f"Silence {which} has ended.", as_json=as_json)


@app.command("channels")
def channels(*, url: Url = None, api_key: ApiKey = None, as_json: Json = False) -> None:
    """List where notices go, and how each channel did in the last day."""
    with reach(url, api_key) as client:
        found = client.channels()
    columns = (
        Column(title="name"),
        Column(title="kind"),
        Column(title="where", least=16),
        Column(title="from"),
        Column(title="delivered", right=True),
        Column(title="waiting", right=True),
        Column(title="given up", right=True),
        Column(title="what went wrong last", weight=1, least=12),
    )
    rows = (
        [
            each["name"], each["kind"], each["where"], each["severity"], each["delivered"], each["waiting"],
            each["given_up"], clip(each["error"] or "", 80),
        ]
        for each in found
    )  # fmt: skip
    show_rows(
        {"channels": found},
        columns,
        rows,
        as_json=as_json,
        empty="No channels. They are configured: monitoring.alerts.channels in loopwright.yaml.",
    )


@app.command("test")
def send_test(
    name: Annotated[str, typer.Argument(help="A channel of the configuration.", metavar="CHANNEL")],
    *,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Send a test notice, and wait until it is delivered or not; exits 1 when not."""
    with reach(url, api_key) as client:
        delivery, until = client.test_channel(name), time.monotonic() + _WAIT
        while True:
            [found] = client.notices(delivery=delivery)
            if found["state"] in ("delivered", "given up") or time.monotonic() > until:
                break
            time.sleep(_PAUSE)
    if as_json:
        show_json(found)
    if found["state"] != "delivered":
        why = found["error"] or "it waits behind others: `loopwright alerts channels` says for what"
        raise LoopwrightError(f"channel {name} did not take the test: {why}")
    if not as_json:
        say(f"Channel {name} took the test.", style="green")
