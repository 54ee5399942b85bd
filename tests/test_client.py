"""`from loopwright import Client` against a real HTTP server."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from loopwright import Client
from loopwright.core.errors import BadRequest, Busy, NotFound, Unauthenticated, Unavailable
from tests.cli.stand_in import SECRET, House, call, standing


@pytest.fixture
def house() -> Iterator[House]:
    with standing() as house:
        yield house


def test_pages_follow_each_other_on_one_connection(house: House) -> None:
    house.calls = [call(number) for number in range(25, 0, -1)]
    with Client(house.url, SECRET) as client:
        found = [one["id"] for one in client.each_call(page=10, model="small")]
    assert found == [one["id"] for one in house.calls]
    assert [path for path in house.paths() if "model=small" not in path] == []
    assert len(house.asked) == 3


def test_the_key_is_found_in_the_data_folder(house: House, tmp_path: Path) -> None:
    (tmp_path / "admin.key").write_text(f"{SECRET}\n")
    with Client(house.url, home=tmp_path) as client:
        assert client.status()["database"] == "up"
        assert client.api_key == SECRET


def test_errors_keep_their_kind_and_message(house: House, tmp_path: Path) -> None:
    with Client(house.url, "lw-wrong") as client, pytest.raises(Unauthenticated, match="nobody knows this key"):
        client.status()
    with Client(house.url, SECRET) as client:
        with pytest.raises(NotFound, match="there is no /api/calls/"):
            client.call("no-such")
        house.fault = "refuse"
        with pytest.raises(Busy):
            client.open("POST", "/v1/chat/completions", body={"model": "small", "messages": []})
        assert client.models()[0]["name"] == "vectors"  # the connection after an error is a good one


def test_nobody_there() -> None:
    with Client("http://127.0.0.1:1", "k") as client, pytest.raises(Unavailable, match="`loopwright up`"):
        client.status()


def test_a_connection_that_the_server_closed_meanwhile_is_replaced(house: House) -> None:
    with Client(house.url, SECRET) as client:
        client.status()
        kept = client._kept
        assert kept is not None
        assert kept.sock is not None
        kept.sock.shutdown(2)  # as if the server had hung up an idle connection
        assert client.create_key("app")["secret"] == SECRET


@pytest.mark.parametrize("wrong", ["localhost:4100", "ftp://x", "http://", "http://x:port", "http://[x"])
def test_what_is_no_url_is_refused(wrong: str) -> None:
    with pytest.raises(BadRequest):
        Client(wrong, "k")


def test_importing_the_package_stays_light() -> None:
    program = (
        "import sys, loopwright\nprint('asyncio' in sys.modules, 'typer' in sys.modules, 'msgspec' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False False False\n"
