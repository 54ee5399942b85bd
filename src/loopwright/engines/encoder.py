"""Turns token ids into unit vectors with ONNX Runtime: mean over the tokens, then length one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from tokenizers import Tokenizer

from loopwright.engines.bert import build, read_shape, read_weights

_BATCH_TOKENS = 4_096  # padded tokens of one run: bounds memory (about 60 MB) and how long a short text waits
_TOKENIZED_TOGETHER = 256


class Encoder:
    """A sentence transformer loaded from its folder. Not for several threads at once."""

    def __init__(self, folder: Path, *, threads: int) -> None:
        """Build and load the model.

        Raises:
            ValueError: the folder holds no BERT encoder.
            OSError: a file is missing.
        """
        self.shape = read_shape(folder)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.enable_cpu_mem_arena = False  # the arena never gives back what one large batch took
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(
            build(self.shape, read_weights(folder / "model.safetensors")), options, providers=["CPUExecutionProvider"]
        )
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self.longest = self.shape.positions
        self.dimensions = self.shape.width

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids with the special ones, uncut."""
        found: list[list[int]] = []
        for i in range(0, len(texts), _TOKENIZED_TOGETHER):
            found.extend(
                list(item.ids) for item in self._tokenizer.encode_batch_fast(texts[i : i + _TOKENIZED_TOGETHER])
            )
        return found

    def encode(self, tokens: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """One unit vector for each list of token ids, in order: [texts, dimensions]."""
        vectors = np.empty((len(tokens), self.dimensions), np.float32)
        for batch in _batches([len(ids) for ids in tokens]):
            longest = max(len(tokens[i]) for i in batch)
            ids = np.zeros((len(batch), longest), np.int32)
            mask = np.zeros((len(batch), longest), np.int32)
            for row, i in enumerate(batch):
                ids[row, : len(tokens[i])] = tokens[i]
                mask[row, : len(tokens[i])] = 1
            places = np.arange(longest, dtype=np.int32)
            (hidden,) = self._session.run(None, {"ids": ids, "mask": mask, "positions": places})
            summed = np.einsum("btw,bt->bw", hidden, mask.astype(np.float32))
            vectors[batch] = unit(summed)
        return vectors


def unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Each row at length one; a row of zeros stays."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    scaled: NDArray[np.float32] = vectors / np.maximum(lengths, np.float32(1e-12))
    return scaled


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Indices by rising length, as many together as the padded tokens allow, so little is computed on padding."""
    batch: list[int] = []
    for i in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and lengths[i] * (len(batch) + 1) > _BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch
