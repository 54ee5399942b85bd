"""A webhook that hears notices, and a house that watches itself."""

import json
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from loopwright.kit.migrations import migrate
from loopwright.kit.settings import Settings
from loopwright.kit.settings_alerts import AlertSettings, ChannelSettings, ObjectiveSettings
from loopwright.kit.settings_monitoring import MonitoringSettings
from loopwright.monitoring.alerts_delivery import Outbox
from loopwright.monitoring.alerts_round import Looking
from tests.monitoring.keeping import Kept, kept

SECRET = "whsec-of-the-test"


class Hook:
    """Keeps what it was sent; answers with the statuses it was given, then with 204."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/hook"
        self.statuses: list[int] = []
        self.heard: list[tuple[dict[str, str], bytes]] = []
        self.taken: list[dict[str, Any]] = []
        """Those that it answered with success."""

    def events(self) -> list[tuple[str, list[str]]]:
        return [(each["event"], [alert["title"] for alert in each["alerts"]]) for each in self.taken]


@contextmanager
def hook() -> Iterator[Hook]:
    class Heard(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            here.heard.append(({name.lower(): value for name, value in self.headers.items()}, body))
            status = here.statuses.pop(0) if here.statuses else 204
            if status < 300:
                here.taken.append(json.loads(body))
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Heard)
    here = Hook(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield here
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Watched:
    """Calls on record, and who looks at them."""

    def __init__(self, house: Kept, settings: Settings) -> None:
        self.house = house
        self.db = house.db
        self.settings = settings
        self.look = Looking(house.db, settings)
        self.deliver = Outbox(house.db, settings)

    async def round(self) -> None:
        """Look, and tell."""
        await self.look()
        await self.deliver()

    async def again(self) -> None:
        """As if the recorder had been restarted."""
        self.look = Looking(self.db, self.settings)
        self.deliver = Outbox(self.db, self.settings)


@asynccontextmanager
async def watched(
    url: str,
    folder: Path,
    *,
    channels: dict[str, ChannelSettings] | None = None,
    objectives: dict[str, ObjectiveSettings] | None = None,
    **alerts: Any,
) -> AsyncIterator[Watched]:
    """A house whose recorder looks when told to."""
    async with kept(url, folder) as house:
        await migrate(house.db, ["access"])
        asked = AlertSettings(channels=channels or {}, **alerts)
        yield Watched(house, Settings(monitoring=MonitoringSettings(alerts=asked, objectives=objectives or {})))
