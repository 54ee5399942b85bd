"""Adapters in a configuration: those of engines, and those that variants of tasks want."""

from pathlib import Path

import pytest

from loopwright.core.errors import BadRequest, SettingsError
from loopwright.kit.settings import Settings
from loopwright.kit.settings_adapters import Wanted
from loopwright.kit.settings_file import load
from loopwright.tasks.definition import checked
from loopwright.tasks.task import task_of

MODELS = """
providers:
  p: {kind: scripted}
models:
  far: {provider: p}
  small:
    aliases: [tiny]
    engine: {source: "file:m.gguf", adapters: {polite: {path: a.gguf}, brisk: {path: b.gguf, scale: 0.5}}}
  other: {engine: {source: "file:m.gguf", adapters: {polite: {path: a.gguf}}}}
  both: {targets: [{engine_model: small}, {engine_model: other}]}
  mixed: {targets: [{engine_model: small}, {provider: p}]}
"""
SAY = 'messages: [{role: user, content: "{{ input }}"}]'


def read(tmp_path: Path, text: str) -> Settings:
    path = tmp_path / "loopwright.yaml"
    path.write_text(text)
    return load(path, env={})


def with_variant(model: str, adapter: str) -> str:
    return f"{MODELS}tasks: {{t: {{model: {model}, variants: {{v: {{adapter: {adapter}, {SAY}}}}}}}}}\n"


@pytest.mark.parametrize("model", ["small", "tiny", "other", "both"])
def test_a_variant_may_name_an_adapter_that_all_of_its_model_has(tmp_path: Path, model: str) -> None:
    settings = read(tmp_path, with_variant(model, "polite"))
    assert settings.tasks["t"].variants["v"].adapter == "polite"
    assert settings.models["small"].engine is not None
    assert settings.models["small"].engine.adapters["brisk"].scale == 0.5


@pytest.mark.parametrize(
    ("model", "adapter", "said"),
    [
        ("far", "polite", "model 'far' has no adapters, so not 'polite'"),
        ("mixed", "polite", "model 'mixed' has no adapters"),
        ("both", "brisk", "model 'both' has no adapter 'brisk'; there are: polite"),
        ("small", "polit", "model 'small' has no adapter 'polit'; did you mean 'polite'?"),
        ("small", "'../x'", "not the name of an adapter"),
        ("small", "[polite]", "allowed: the name of an adapter of its model, or a mapping"),
        ("small", "{name: polite, scales: 2}", "unknown; did you mean 'scale'?"),
        ("small", "{name: polite, scale: 11}", "allowed: a number from -10 to 10"),
        ("small", "{name: polite, scale: .nan}", "t.variants.v.adapter"),
        ("small", "{name: polite, scale: true}", "allowed: a number from -10 to 10"),
        ("small", "{scale: 1}", "allowed: the name of an adapter of its model"),
    ],
)
def test_any_other_adapter_is_refused_where_it_stands(tmp_path: Path, model: str, adapter: str, said: str) -> None:
    with pytest.raises(SettingsError) as refused:
        read(tmp_path, with_variant(model, adapter))
    assert "tasks.t.variants.v.adapter" in refused.value.message
    assert said in refused.value.message


@pytest.mark.parametrize(
    ("engine", "said"),
    [
        ('{source: "file:m", adapters: {"a b": {path: a}}}', "not the name of an adapter"),
        ('{source: "file:m", adapters: {a: {}}}', "has no path"),
        ('{source: "file:m", adapters: {a: {path: x, scale: 99}}}', "scale"),
        ('{source: "file:m", kind: embedding, adapters: {a: {path: x}}}', "stand beside an engine that embeds"),
    ],
)
def test_what_cannot_be_an_adapter_of_an_engine_is_refused(tmp_path: Path, engine: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        read(tmp_path, f"models: {{m: {{engine: {engine}}}}}\n")


def test_without_any_models_there_are_no_adapters(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="has no adapters"):
        read(tmp_path, f"tasks: {{t: {{model: smollm2, variants: {{v: {{adapter: a, {SAY}}}}}}}}}\n")


CHAIN = """tasks:
  t:
    model: small
    variants:
      v:
        adapter: polite
        strategy:
          kind: chain
          steps:
            - {name: one, messages: [{role: user, content: "{{ input }}"}]}
            - {name: two, messages: [{role: user, content: "{{ one }}"}], adapter: STEP}
"""


def test_a_step_has_the_adapter_of_its_variant_or_its_own(tmp_path: Path) -> None:
    settings = read(tmp_path, MODELS + CHAIN.replace("STEP", "{name: brisk, scale: 2}"))
    variant = task_of("t", settings.tasks["t"]).variants["v"]
    assert variant.adapters == (Wanted(name="polite"), Wanted(name="brisk", scale=2.0))
    with pytest.raises(SettingsError) as refused:
        read(tmp_path, MODELS + CHAIN.replace("STEP", "gruff"))
    assert "variants.v.strategy.steps[1].adapter: model 'small' has no adapter 'gruff'" in refused.value.message


def test_a_stored_definition_keeps_its_adapter_and_says_where_it_is_wrong() -> None:
    told = {"model": "m", "variants": {"v": {"messages": [{"role": "user", "content": "{{ input }}"}]}}}
    told["variants"]["v"]["adapter"] = {"name": "polite", "scale": 0.5}  # type: ignore[index]
    assert task_of("t", checked("t", told)).definition == told
    told["variants"]["v"]["adapter"] = {"name": "polite", "scale": 10**400}  # type: ignore[index]
    with pytest.raises(BadRequest) as refused:
        checked("t", told)
    told["variants"]["v"]["adapter"] = {"name": "polite", "scale": "1"}  # type: ignore[index]
    with pytest.raises(BadRequest) as refused:
        checked("t", told)
    assert refused.value.param == "variants.v.adapter.scale"
