"""What a GGUF file says of itself, as the facts of a model card."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from loopwright.core.chat import Operation
from loopwright.kit.gguf import read


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """The part of a card that the weights themselves know."""

    operations: tuple[Operation, ...]
    context: int | None = None
    """Tokens the model was trained for; the engine may offer fewer."""
    parameters: int | None = None
    quantisation: str = ""
    licence: str = ""
    supports_tools: bool = False
    notes: tuple[str, ...] = ()


def facts(path: Path) -> Facts:
    """Read them.

    Raises:
        NotGguf: the file is no model.
        OSError: it cannot be read.
    """
    header = read(path)
    geometry = header.geometry()
    notes = () if header.chat_template else ("The weights carry no chat template (a base model): completions only.",)
    return Facts(
        operations=("chat", "completion") if header.chat_template else ("completion",),
        context=geometry.context,
        parameters=header.parameters,
        quantisation=header.quantization,
        licence=header.licence,
        supports_tools=bool(header.chat_template) and header.renders_tools,
        notes=notes,
    )
