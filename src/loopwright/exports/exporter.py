"""What a place that calls are mirrored to is: the shape of plug-ins of group `loopwright.exporters`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from loopwright.core.call import Call
from loopwright.exports.outgoing import Outgoing
from loopwright.kit.plugins import Registry
from loopwright.kit.settings_exports import ExportSettings

BUILTIN: Final = {
    "otlp": "loopwright.exports.otlp:Otlp",
    "mlflow": "loopwright.exports.mlflow:Mlflow",
    "langfuse": "loopwright.exports.langfuse:Langfuse",
    "wandb": "loopwright.exports.wandb_offline:WandbOffline",
}


class NotTaken(Exception):
    """What was sent was not taken. `again` says whether trying again may help."""

    def __init__(self, why: str, *, again: bool = True) -> None:
        super().__init__(why[:500])
        self.again = again


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """A score on its way: JSON as `feedback.beside` tells it."""

    call: Call
    score: Mapping[str, Any]


class Exporter(Protocol):
    """Sends calls somewhere. It may get the same again, and must know it again by its ids.

    A factory takes the `args` of the settings by name, and `texts`: whether what it gets has any.
    """

    async def send(self, calls: Sequence[Outgoing], /) -> None:
        """Send some calls; return once they are kept there.

        Raises:
            NotTaken: they were not; of several, perhaps some.
        """
        ...

    async def score(self, said: Sequence[Said], /) -> None:
        """Send what was said of calls that were sent before.

        Raises:
            NotTaken: it was not taken.
        """
        ...

    async def forget(self, traces: Sequence[str], /) -> int:
        """Delete traces there, by ids of 32 hexadecimal digits, known there or not; of how many that was asked.

        What is still on record of them is sent anew. A place that cannot delete answers 0.

        Raises:
            NotTaken: it was not taken.
        """
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


def made(settings: ExportSettings) -> Exporter:
    """The exporter that is configured.

    Raises:
        NotFound, StartError, SettingsError: it cannot be made.
    """
    registry: Registry[Exporter] = Registry("exporters", builtin=BUILTIN)
    return registry.make(settings.kind, texts=settings.texts, **settings.args)
