from fractions import Fraction

import pytest

from loopwright.kit.geometry import KV_BYTES, Geometry, Layer, compute_bytes, kv_bytes, kv_bytes_per_token


def geometry(*layers: Layer) -> Geometry:
    return Geometry(layers=layers, context=8192, vocabulary=49_152, width=576, feed_forward=1536, heads=9)


def attention(kv_heads: int = 3, length: int = 64, window: int | None = None) -> Layer:
    return Layer(kv_heads=kv_heads, key_length=length, value_length=length, window=window)


SMOLLM2 = geometry(*[attention()] * 30)


def test_smollm2_keeps_23040_bytes_a_token() -> None:
    assert kv_bytes_per_token(SMOLLM2, "f16") == 23_040
    assert kv_bytes(SMOLLM2, context=1024, slots=16, kv_type="f16") == 360 << 20
    assert kv_bytes_per_token(SMOLLM2, "q8_0") == 12_240
    assert kv_bytes_per_token(SMOLLM2, "q4_0") == 6_480


def test_bytes_an_element_count_the_scales() -> None:
    assert KV_BYTES["q8_0"] * 32 == 34
    assert KV_BYTES["q4_0"] == Fraction(9, 16)


def test_a_window_holds_itself_and_the_batch_but_never_more_than_the_context() -> None:
    one = geometry(attention(1, 32, window=512))
    per_token = 1 * 64 * 2
    assert kv_bytes(one, context=8192, slots=1, kv_type="f16", batch=256) == 768 * per_token
    assert kv_bytes(one, context=400, slots=1, kv_type="f16", batch=256) == 400 * per_token
    assert kv_bytes(one, context=8192, slots=3, kv_type="f16", batch=500) == 3 * 1024 * per_token  # rounded up to 256


def test_latent_attention_keeps_one_copy() -> None:
    deepseek = geometry(*[Layer(kv_heads=1, key_length=512 + 64, value_length=0)] * 27)
    assert kv_bytes_per_token(deepseek, "f16") == 27 * 576 * 2
    assert not deepseek.quantizes()


def test_layers_without_attention_keep_a_state_of_each_sequence_only() -> None:
    hybrid = geometry(attention(2, 64), Layer(kv_heads=0, key_length=64, value_length=64, state_bytes=1000))
    assert kv_bytes_per_token(hybrid, "f16") == 2 * 128 * 2
    assert kv_bytes(hybrid, context=100, slots=4, kv_type="f16") == 4 * (100 * 512 + 1000)


@pytest.mark.parametrize(("length", "fits"), [(64, True), (256, True), (80, False), (72, False)])
def test_blocks_of_32_must_divide_the_heads(length: int, *, fits: bool) -> None:
    assert geometry(attention(2, length)).quantizes() is fits


def test_no_attention_at_all_has_nothing_to_quantise() -> None:
    assert not geometry(Layer(kv_heads=0, key_length=64, value_length=64)).quantizes()


def test_scores_take_room_without_flash_attention() -> None:
    with_flash = compute_bytes(SMOLLM2, batch=512, context=8192, flash=True)
    assert compute_bytes(SMOLLM2, batch=512, context=8192, flash=False) - with_flash == 4 * 512 * 9 * 8192
    assert with_flash > 4 * 512 * 49_152
