"""What the console needs of the composition root (stand-in until app.py lands)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from loopwright.access.keys import Keys
from loopwright.access.projects import Projects
from loopwright.calls.query import Calls
from loopwright.core.chat import Chat
from loopwright.engines.endpoints import Endpoint
from loopwright.kit.settings import Settings


class App(Protocol):
    """The rooms a page asks."""

    settings: Settings
    keys: Keys
    projects: Projects
    calls: Calls
    chat: Chat
    started_at: datetime

    def cards(self) -> Sequence[Mapping[str, Any]]:
        """What is known of each model."""
        ...

    def engines(self) -> Mapping[str, Endpoint]:
        """The local engines."""
        ...
