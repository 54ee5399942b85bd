"""How much memory a transformer's keys and values take: arithmetic on plain numbers, whatever file they came from."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

KV_BYTES = {"f16": Fraction(2), "q8_0": Fraction(34, 32), "q4_0": Fraction(18, 32)}
"""Bytes an element, block scales included (32 elements share one f16 scale in q8_0 and q4_0)."""

_PAD = 256  # llama.cpp rounds the cells of a cache up to this


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """What one layer remembers of a sequence."""

    kv_heads: int
    """0 for a layer without attention."""
    key_length: int
    """Elements of one head's key. Multi-head latent attention: one head of latent rank + rotary part, no value."""
    value_length: int
    window: int | None = None
    """Tokens a sliding-window layer looks back; None looks at everything."""
    state_bytes: int = 0
    """Recurrent state of one sequence (Mamba and its kin), whatever its length."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """The measures of a model that decide its memory."""

    layers: tuple[Layer, ...]
    context: int
    """Tokens it was trained for."""
    vocabulary: int
    width: int
    """Elements of the hidden state."""
    feed_forward: int
    heads: int

    def quantizes(self) -> bool:
        """Whether keys and values can be stored in blocks of 32 elements under flash attention."""
        attention = [layer for layer in self.layers if layer.kv_heads]
        return bool(attention) and all(
            layer.value_length > 0 and layer.key_length % 32 == 0 and layer.value_length % 32 == 0
            for layer in attention
        )


def kv_bytes_per_token(geometry: Geometry, kv_type: str) -> int:
    """Bytes one token adds while no window is full: Σ over layers of kv_heads * (key + value) * bytes an element."""
    element = KV_BYTES[kv_type]
    return int(sum(x.kv_heads * (x.key_length + x.value_length) * element for x in geometry.layers))


def kv_bytes(geometry: Geometry, *, context: int, slots: int, kv_type: str, batch: int = 512) -> int:
    """Bytes of keys, values and states for `slots` sequences of `context` tokens.

    A sliding-window layer holds its window plus the batch being added, never more than the context.
    """
    element = KV_BYTES[kv_type]
    total = Fraction(0)
    for layer in geometry.layers:
        tokens = context if layer.window is None else min(context, _padded(layer.window + batch))
        total += layer.kv_heads * (layer.key_length + layer.value_length) * element * tokens + layer.state_bytes
    return int(total * slots)


def compute_bytes(geometry: Geometry, *, batch: int, context: int, flash: bool) -> int:
    """Bytes of working buffers for a batch, in f32: logits, activations, and attention scores without flash attention.

    An estimate: activations are taken as eight times the hidden state and twice the feed-forward layer.
    """
    row = geometry.vocabulary + 8 * geometry.width + 2 * geometry.feed_forward
    scores = 0 if flash else geometry.heads * context
    return 4 * batch * (row + scores)


def _padded(tokens: int) -> int:
    return -(-tokens // _PAD) * _PAD
