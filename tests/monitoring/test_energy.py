"""Energy: factors that add up over calls, names of providers, meters of processors, what engines take."""

import math
from pathlib import Path
from typing import Any

import pytest
from ecologits.tracers.utils import llm_impacts
from hypothesis import given
from hypothesis import strategies as some

from loopwright.engines import endpoints
from loopwright.engines.endpoints import Endpoint
from loopwright.kit.db import Database
from loopwright.kit.migrations import migrate
from loopwright.kit.settings import ProviderSettings
from loopwright.kit.settings_energy import EnergySettings
from loopwright.monitoring.energy import factor, grid, maker_of
from loopwright.monitoring.energy_meter import EnergyMeter, Seen, limits, metered, read, taken

JOULE = 1_000_000


@given(tokens=some.lists(some.integers(1, 5_000), min_size=1, max_size=20))
def test_a_sum_over_calls_is_what_ecologits_says_of_each(tokens: list[int]) -> None:
    known = factor("openai", "gpt-4o-mini")
    assert known is not None
    energy = known.of(len(tokens), sum(tokens))
    alone: list[Any] = [llm_impacts("openai", "gpt-4o-mini", each, math.inf) for each in tokens]
    assert energy.wh_low == pytest.approx(1000 * sum(each.energy.value.min for each in alone))
    assert energy.wh_high == pytest.approx(1000 * sum(each.energy.value.max for each in alone))
    assert energy.g_high == pytest.approx(1000 * sum(each.gwp.value.max for each in alone))


@pytest.mark.parametrize(
    ("provider", "model", "found"),
    [
        ("openai", "gpt-4o", ("openai", "gpt-4o")),
        ("mine", "gpt-4o", ("openai", "gpt-4o")),
        ("gcp.gemini", "gemini-2.5-flash", ("google_genai", "gemini-2.5-flash")),
        ("aws.bedrock", "eu.anthropic.claude-sonnet-4-5", ("anthropic", "claude-sonnet-4-5")),
        ("router", "anthropic/claude-sonnet-4-5", ("anthropic", "claude-sonnet-4-5")),
        ("ours", "gpt-4o", None),
        ("local", "llama", None),
        ("nobody", "gpt-4o", None),
    ],
)
def test_providers_are_known_by_preset_kind_and_maker(provider: str, model: str, found: tuple[str, str] | None) -> None:
    providers = {
        "mine": ProviderSettings(preset="openai"),
        "router": ProviderSettings(preset="openrouter"),
        "ours": ProviderSettings(preset="openai", own=True),
        "local": ProviderSettings(preset="vllm"),
    }
    assert maker_of(provider, model, providers) == found


def test_models_that_nobody_knows_have_no_factor() -> None:
    assert factor("openai", "no-such-model") is None
    assert factor("no-such-provider", "gpt-4o") is None
    assert factor("openai", "gpt-4o-mini-2031-01-01") == factor("openai", "gpt-4o-mini")
    world, france = grid("WOR"), grid("FRA")
    assert world is not None
    assert france is not None
    assert france < world
    assert grid("XXX") is None


def seen(at: float, cpu: float, *, busy: float = 0.0, pid: int = 7, **micro: int) -> Seen:
    return Seen(at=at, busy=busy, micro=micro, engines={"m": (pid, cpu, 2.0)})


def test_without_a_meter_watts_count() -> None:
    settings = EnergySettings(watts_per_thread=5, watts_per_gb=0.5, pue=2)
    [one] = taken(seen(0, 10), seen(60, 40), settings, {})
    assert (one.method, one.cpu_s) == ("watts", 30)
    assert one.joules == pytest.approx(2 * (30 * 5 + 2.0 * 0.5 * 60))


def test_a_meter_is_shared_by_processor_time_and_may_begin_anew() -> None:
    settings = EnergySettings(watts_per_gb=0)
    last = seen(0, 10, busy=100, a=90 * JOULE, b=0)
    now = seen(60, 40, busy=140, a=10 * JOULE, b=20 * JOULE)
    [one] = taken(last, now, settings, {"a": 100 * JOULE})
    assert one.method == "rapl"
    assert one.joules == pytest.approx((20 + 20) * 30 / 40)


def test_another_process_a_sleep_and_a_clock_set_back_count_nothing_false() -> None:
    settings = EnergySettings()
    assert taken(seen(0, 10), seen(60, 40, pid=8), settings, {}) == []
    assert taken(seen(0, 40), seen(60, 10), settings, {}) == []
    assert taken(seen(60, 10), seen(60, 40), settings, {}) == []
    [slept] = taken(seen(0, 10, busy=1, a=0), seen(10_000, 40, busy=50, a=9), settings, {})
    assert slept.method == "watts"


@pytest.mark.anyio
async def test_engines_are_metered_by_the_hour(database_url: str, tmp_path: Path) -> None:
    db = await Database.open(database_url, size=2)
    await migrate(db, ["monitoring"])
    powercap = tmp_path / "powercap"
    package = powercap / "intel-rapl:0"
    package.mkdir(parents=True)
    (powercap / "intel-rapl:0:0").mkdir()
    (package / "max_energy_range_uj").write_text(f"{10**12}\n")
    (package / "energy_uj").write_text("5000000\n")
    here = Endpoint(
        name="m", kind="llamacpp", url="http://127.0.0.1:1/v1", secret="s", operations=("chat",), context=1, slots=1,
        pid=1,
    )  # fmt: skip
    endpoints.write(tmp_path, {"m": here})
    assert limits(powercap) == {"intel-rapl:0": 10**12}
    assert read(tmp_path, powercap, lambda: 0.0).micro == {"intel-rapl:0": 5_000_000}
    meter = EnergyMeter(db, tmp_path, EnergySettings(), machine="here", powercap=powercap)
    for _ in range(3):
        await meter()
    [row] = await db.rows("select *, now() as now from energy_hours")
    assert (row["machine"], row["model"]) == ("here", "m")
    assert row["joules"] >= 0
    told = await metered(db, row["bucket"], row["now"])
    assert told == {"m": {row["method"]: row["joules"]}}
    assert await metered(db, row["now"].replace(year=2001), row["bucket"]) == {}
    await db.close()
