"""`loopwright bench`: a load on any OpenAI-compatible endpoint, and what it showed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Annotated, Any

import typer
import uvloop

from loopwright.cli.bench_text import Live, show_plots, show_report
from loopwright.cli.quantities import seconds_of
from loopwright.cli.reach import Json, reach
from loopwright.cli.screen import show_json
from loopwright.core.errors import BadRequest
from loopwright.kit.http import HttpClient
from loopwright.kit.lengths import Length, draw_of, drawn, replayed, trace_of
from loopwright.kit.load import Generator, Load, Sample
from loopwright.kit.load_report import Report, report_of, slo_of
from loopwright.kit.settings import Timeouts

app = typer.Typer(add_completion=False)


Url = Annotated[str | None, typer.Option(help="Base URL, e.g. http://127.0.0.1:8000/v1; else the running Loopwright.")]
Key = Annotated[str | None, typer.Option(help="Its API key; Loopwright's own is used for Loopwright only.")]
Model = Annotated[str | None, typer.Option(help="Model to ask; else the first the endpoint lists.")]
Concurrency = Annotated[
    int, typer.Option("--concurrency", "-c", min=1, max=10_000, help="Users who each ask again once answered.")
]
Rate = Annotated[
    float | None,
    typer.Option(min=0.001, help="Requests a second at random moments (Poisson), whether or not it keeps up."),
]
Requests = Annotated[int | None, typer.Option("--requests", "-n", min=1, help="Stop after so many.")]
Duration = Annotated[str | None, typer.Option("--duration", "-d", help="Begin requests for so long: 30s, 5m.")]
PromptTokens = Annotated[
    str, typer.Option(help="Length of prompts: 200, uniform:100:300, lognormal:200:50 (mean:deviation).")
]
OutputTokens = Annotated[str, typer.Option(help="Most tokens of an answer, in the same forms.")]
Lengths = Annotated[
    Path | None, typer.Option(help="CSV with both lengths (ContextTokens,GeneratedTokens), replayed in order.")
]
Warmup = Annotated[int, typer.Option(min=0, help="Requests before the measured ones.")]
Stream = Annotated[bool, typer.Option(help="Streamed answers; without, there is no TTFT.")]
Slo = Annotated[str | None, typer.Option(help="Targets that a good answer meets: ttft=500ms,tpot=50ms,latency=5s.")]
Body = Annotated[
    str | None, typer.Option(help="Further members of each request, e.g. '{\"ignore_eos\": true}'.", metavar="JSON")
]
Limit = Annotated[str, typer.Option(help="An answer may take so long.")]
Seed = Annotated[int, typer.Option(help="The same seed draws the same lengths, prompts and moments.")]
Plot = Annotated[bool, typer.Option(help="Draw how TTFT is spread, and latency over time.")]


@app.command()
def bench(
    *,
    url: Url = None,
    key: Key = None,
    model: Model = None,
    concurrency: Concurrency = 1,
    rate: Rate = None,
    requests: Requests = None,
    duration: Duration = None,
    prompt_tokens: PromptTokens = "200",
    output_tokens: OutputTokens = "64",
    lengths: Lengths = None,
    warmup: Warmup = 4,
    stream: Stream = True,
    slo: Slo = None,
    body: Body = None,
    timeout: Limit = "10m",
    seed: Seed = 0,
    plot: Plot = True,
    as_json: Json = False,
) -> None:
    """Measure an endpoint under load: TTFT, TPOT, latency, tokens a second, goodput, errors.

    With --rate, times count from the moment a request was due, so a stall is not hidden.
    Ctrl-C ends the load early and still reports. Exit code 1 when no request was answered.
    """
    targets = slo_of(slo) if slo else {}
    if not stream and targets.keys() & {"ttft", "tpot"}:
        raise BadRequest("--slo: without --stream only latency can be measured")
    load = Load(
        model=model or "",
        lengths=_lengths(lengths, prompt_tokens, output_tokens, seed),
        stream=stream,
        concurrency=concurrency,
        rate=rate,
        requests=requests if requests or duration else max(20, 5 * concurrency),
        duration=seconds_of(duration, "--duration") if duration else None,
        warmup=warmup,
        seed=seed,
        body=_members(body),
    )
    client = _client(url, key, load, seconds_of(timeout, "--timeout"))
    live = Live(load, quiet=as_json)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        report, samples = runner.run(_drive(client, load, live, targets))
    if as_json:
        show_json({"url": client.base_url, "model": live.model, "busy": live.busy, **report.as_json()})
    else:
        show_report(report, live)
        if plot:
            show_plots(samples)
    if not report.answered:
        raise typer.Exit(1)


def _client(url: str | None, key: str | None, load: Load, limit: float) -> HttpClient:
    base, secret = _endpoint(url, key)
    return HttpClient(
        base_url=base,
        headers={"authorization": f"Bearer {secret}"} if secret else {},
        timeouts=Timeouts(connect=min(30.0, limit), first_token=limit, between_tokens=limit, total=limit),
        limit=load.concurrency if load.rate is None else 10_000,
    )


async def _drive(
    client: HttpClient, load: Load, live: Live, targets: Mapping[str, float]
) -> tuple[Report, list[Sample]]:
    samples: list[Sample] = []

    def heard(sample: Sample) -> None:
        samples.append(sample)
        live.heard(sample)

    try:
        live.model = load.model or await _first_model(client)
        generator = Generator(client, replace(load, model=live.model), heard)
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, generator.stop)
        live.status("warming up")
        for sample in await generator.warm_up():
            if sample.error is not None:
                live.note(f"warm-up failed: {sample.error}: {sample.message}")
        cpu = time.process_time()
        with live.watching(generator):
            seconds = await generator.run()
        live.busy = (time.process_time() - cpu) / seconds if seconds else 0.0
    finally:
        await client.close()
    return report_of(samples, seconds, targets), samples


async def _first_model(client: HttpClient) -> str:
    reply = await client.request("GET", "/models")
    try:
        listed = [str(model["id"]) for model in json.loads(reply.body)["data"]] if reply.status == 200 else []
    except (ValueError, KeyError, TypeError):
        listed = []
    if not listed:
        raise BadRequest(f"{client.base_url}/models lists no model ({reply.status})\nName one: --model NAME")
    return listed[0]


def _endpoint(url: str | None, key: str | None) -> tuple[str, str | None]:
    """Base URL and key. Our own key goes to no other endpoint: only one that was given for it does."""
    if url is None:
        with reach(os.environ.get("LOOPWRIGHT_URL"), key) as client:
            return f"{client.url}/v1", client.api_key
    base = url.rstrip("/")
    scheme, _, rest = base.partition("://")
    if scheme not in {"http", "https"} or not rest:
        raise BadRequest(f"--url: {url!r} is not a URL\nWrite it like http://127.0.0.1:8000/v1", param="url")
    return base if "/" in rest else f"{base}/v1", key


def _lengths(trace: Path | None, prompt: str, output: str, seed: int) -> Iterator[Length]:
    if trace is not None:
        return replayed(trace_of(trace))
    # Its own source of chance, so that the lengths stay the same whatever else is drawn.
    return drawn(draw_of(prompt), draw_of(output), Random(f"lengths {seed}"))  # noqa: S311 - repeatable, not secret


def _members(text: str | None) -> Mapping[str, Any]:
    if text is None:
        return {}
    try:
        members = json.loads(text)
    except ValueError as error:
        raise BadRequest(f"--body: not JSON: {error}", param="body") from error
    if not isinstance(members, dict):
        raise BadRequest("--body: not a JSON object\nWrite it like '{\"temperature\": 0}'", param="body")
    return members
