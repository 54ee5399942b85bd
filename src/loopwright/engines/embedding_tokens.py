"""How a sentence transformer of ours counts tokens, without its weights: by the tokenizer that lies beside them."""

from __future__ import annotations

import os
from pathlib import Path

from loopwright.engines.bert import read_shape
from loopwright.kit.postponed import Postponed
from loopwright.kit.settings import EngineSettings

_tokenizers = Postponed("tokenizers")


class EmbeddingTokens:
    """Counts as the engine does, with the tokens that it puts around every text."""

    __slots__ = ("_tokenizer", "most")

    def __init__(self, settings: EngineSettings) -> None:
        """Of the model that `settings` host.

        Raises:
            ValueError: it is no sentence transformer of ours.
            OSError: its files cannot be read.
        """
        kind, _, where = settings.source.partition(":")
        if settings.kind != "embedding" or kind != "file":
            raise ValueError(f"{settings.source!r} is no sentence transformer of ours")
        path = Path(where).expanduser()
        folder = path.parent if path.is_file() else path
        self.most: int = settings.context or read_shape(folder).positions
        """Tokens of the longest text."""
        # Where texts are counted one by one, threads of the library only wait for each other.
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        self._tokenizer = _tokenizers.Tokenizer.from_str((folder / "tokenizer.json").read_text("utf-8"))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()

    def __call__(self, text: str) -> int:
        """Tokens of a text."""
        return len(self._tokenizer.encode_batch_fast([text])[0])
