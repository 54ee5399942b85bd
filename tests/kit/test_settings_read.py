"""Properties of the reader: whatever a file holds is read or refused, and what is written is read back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loopwright.core.errors import SettingsError
from loopwright.kit.settings import EngineSettings, ModelSettings, ProviderSettings, Server, Settings
from loopwright.kit.settings_file import load
from loopwright.kit.settings_read import show_path
from loopwright.kit.settings_words import told


def _written(folder: Path, text: str) -> Path:
    path = folder / "loopwright.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_path_reads_as_one_would_write_it() -> None:
    assert show_path(("models", "gpt-4.1", "aliases", "[0]")) == "models['gpt-4.1'].aliases[0]"
    assert show_path(()) == ""


KEYS = st.sampled_from(
    [
        each.name
        for schema in (Settings, Server, ProviderSettings, ModelSettings, EngineSettings)
        for each in fields(schema)
    ]
)
WORDS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=12),
    st.sampled_from(
        ["${A}", "${A:-1}", "${", "20MB", "30s", "chat", "openai", "http://h", "*x", "!t", "<<", "9" * 400]
    ),
)
TREES = st.recursive(
    WORDS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.one_of(KEYS, st.text(max_size=5)), inner, max_size=6)
    ),
    max_leaves=25,
)
QUICK = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@QUICK
@given(TREES)
def test_any_tree_loads_or_is_refused(tmp_path: Path, tree: object) -> None:
    try:
        load(_written(tmp_path, yaml.safe_dump(tree, allow_unicode=True)), env={"A": "x"})
    except SettingsError as error:
        str(error).encode()


@QUICK
@given(st.binary(max_size=200) | st.text(alphabet="{}[]:,-&*!|>'\"%@#?\n \t\\~aU0x<=$", max_size=80).map(str.encode))
def test_any_bytes_load_or_are_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "any.yaml"
    path.write_bytes(data)
    try:
        load(path, env={})
    except SettingsError as error:
        str(error).encode()


# PyYAML writes -.0 without quotes, and here it is a number.
NAMES = st.text(alphabet="abcxyz-_.0", min_size=1, max_size=8).filter(lambda name: not name.startswith("-.0"))
SERVERS = st.builds(
    Server,
    host=st.sampled_from(["127.0.0.1", "::1", "localhost"]),
    port=st.integers(0, 65_535),
    workers=st.integers(1, 256),
    body_limit=st.integers(1_000, 2_000_000_000),
    body_timeout=st.floats(0.001, 86_400),
)
PROVIDERS = st.builds(
    ProviderSettings,
    base_url=st.sampled_from(["http://h:1/v1", "https://h"]),
    api_key=st.none() | st.text(alphabet="sk-0=1 #:{}", min_size=1).filter(str.strip),
    headers=st.dictionaries(st.just("X-A"), st.text(alphabet="ab 1:", min_size=1).filter(str.strip)),
)


def _plain(value: Any) -> Any:
    """A settings value as YAML would write it."""
    if is_dataclass(value):
        return {name: _plain(getattr(value, name)) for name in told(type(value))}
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return str(value) if isinstance(value, Path) else value


@QUICK
@given(SERVERS, st.dictionaries(NAMES, PROVIDERS, max_size=3), st.sampled_from(["debug", "info"]))
def test_what_is_written_is_read_back(
    tmp_path: Path, server: Server, providers: dict[str, ProviderSettings], level: Any
) -> None:
    models = {f"m-{name}": ModelSettings(provider=name, aliases=(f"a-{name}",)) for name in providers}
    meant = Settings(server=server, providers=providers, models=models, log_level=level)
    path = _written(tmp_path, yaml.safe_dump(_plain(meant)))
    assert load(path, env={}) == replace(meant, file=path)
