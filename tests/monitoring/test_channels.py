"""Channels: what is sent, to real servers on loopback, and that nothing of their secrets is ever told."""

import asyncio
import hashlib
import hmac
import json
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

from loopwright.kit.settings_alerts import ChannelSettings
from loopwright.monitoring.channels import NotDelivered, channel, email_of, signature, slack_of, subject_of, where
from tests.monitoring.hearing import SECRET, hook

pytestmark = pytest.mark.anyio
DOCS = Path(__file__).parents[2] / "docs" / "alerts.md"
ALERT = {
    "id": 7, "severity": "critical", "title": "Model <m>|x: *5* of 5 calls failed", "text": "Objective & more.\nSecond.",
    "explanation": ["83 % are calls of target <!channel>."], "url": "https://h/alerts/7", "calls_url": "https://h/calls?a=b",
}  # fmt: skip
NOTICE: dict[str, Any] = {
    "version": 1, "event": "firing", "delivery": "6f1c", "channel": "ops", "alerts": [ALERT], "more": 2,
}  # fmt: skip


class Box:
    """What a mail server took."""

    def __init__(self) -> None:
        self.letters: list[tuple[list[str], str]] = []
        self.refuse: str | None = None

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        if self.refuse is not None:
            return self.refuse
        self.letters.append((envelope.rcpt_tos, envelope.content.decode()))
        return "250 taken"


@asynccontextmanager
async def mail(**options: Any) -> AsyncIterator[tuple[Box, ChannelSettings]]:
    box = Box()
    server = await asyncio.get_running_loop().create_server(lambda: SMTP(box, **options), "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        yield (
            box,
            ChannelSettings(
                kind="email",
                host="127.0.0.1",
                port=port,
                security="none",
                sender="lw@example.com",
                to=("ops@example.com",),
            ),
        )


async def test_a_webhook_is_signed_as_the_docs_say_it_is_checked() -> None:
    [snippet] = re.findall(r"```python\n(import hashlib.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, Any] = {}
    exec(snippet, names)
    with hook() as heard:
        await channel(ChannelSettings(url=heard.url, secret=SECRET))(NOTICE)
        headers, body = heard.heard[0]
    assert json.loads(body) == NOTICE
    assert headers["loopwright-delivery"] == "6f1c"
    given = headers["loopwright-signature"]
    assert names["is_ours"](SECRET, given, body)
    assert not names["is_ours"](SECRET, given, body + b" ")
    assert not names["is_ours"]("another", given, body)
    assert not names["is_ours"](SECRET, signature(SECRET, body, int(time.time()) - 3_600), body)
    assert not names["is_ours"](SECRET, "nonsense", body)
    expected = hmac.new(SECRET.encode(), b"5.x", hashlib.sha256).hexdigest()
    assert signature(SECRET, b"x", 5) == f"t=5,v1={expected}"


@pytest.mark.parametrize(("status", "again"), [(500, True), (429, True), (404, False), (302, False)])
async def test_whether_trying_again_may_help(status: int, again: bool) -> None:  # noqa: FBT001
    with hook() as heard:
        heard.statuses = [status]
        with pytest.raises(NotDelivered, match=str(status)) as error:
            await channel(ChannelSettings(url=heard.url))(NOTICE)
        assert error.value.again is again
        assert len(heard.heard) == 1  # a redirect is not followed


async def test_an_address_is_never_told() -> None:
    secret = ChannelSettings(kind="slack", url="http://127.0.0.1:9/services/T00/SECRETPATH", secret=None)
    with pytest.raises(NotDelivered) as error:
        await channel(secret)(NOTICE)
    assert "SECRETPATH" not in str(error.value)
    assert "SECRETPATH" not in repr(secret)
    assert where(secret) == "http://127.0.0.1:9"
    metadata = ChannelSettings(url="http://169.254.169.254/latest/meta-data")
    with pytest.raises(NotDelivered, match="address cannot be used"):
        await channel(metadata)(NOTICE)


def test_slack_sees_no_markup_of_others() -> None:
    said = slack_of(NOTICE)
    text = said["blocks"][0]["text"]["text"]
    assert "<!channel>" not in text
    assert text.count("<") == 1  # our own link
    assert "&lt;m&gt;" in said["text"]
    assert "(and 2 more)" in said["text"]
    many = {**NOTICE, "alerts": [ALERT] * 50}
    assert len(slack_of(many)["blocks"][0]["text"]["text"]) <= 2_900


async def test_a_letter_arrives() -> None:
    async with mail() as (box, settings):
        await channel(settings)(NOTICE)
        [(to, letter)] = box.letters
    assert to == ["ops@example.com"]
    assert "Auto-Submitted: auto-generated" in letter
    assert "Message-ID: <6f1c@example.com>" in letter
    assert "https://h/alerts/7" in letter


async def test_a_mail_server_that_refuses() -> None:
    async with mail() as (box, settings):
        box.refuse = "451 later"
        with pytest.raises(NotDelivered, match="451") as later:
            await channel(settings)(NOTICE)
        box.refuse = "554 never"
        with pytest.raises(NotDelivered, match="554") as never:
            await channel(settings)(NOTICE)
    assert (later.value.again, never.value.again) == (True, False)
    with pytest.raises(NotDelivered, match="cannot be used"):
        await channel(settings)(NOTICE)  # it is gone


async def test_signing_in() -> None:
    def authenticate(_server: Any, _session: Any, _envelope: Any, _mechanism: str, given: Any) -> AuthResult:
        return AuthResult(success=given == LoginPassword(b"lw", b"right"), handled=False)

    async with mail(authenticator=authenticate, auth_require_tls=False) as (box, settings):
        known = replace(settings, user="lw", password="right")
        await channel(known)(NOTICE)
        with pytest.raises(NotDelivered, match="refused user and password") as error:
            await channel(replace(known, password="wrong-one"))(NOTICE)
        assert "wrong-one" not in str(error.value)
        assert len(box.letters) == 1


async def test_a_server_that_says_nothing_holds_nobody_up_for_long() -> None:
    async def mute(_reader: Any, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.3)
        writer.close()

    server = await asyncio.start_server(mute, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        settings = ChannelSettings(
            kind="email", host="127.0.0.1", port=port, security="none", sender="a@b", to=("c@d",)
        )
        with pytest.raises(NotDelivered):
            await channel(settings)(NOTICE)


def test_a_subject_is_one_line() -> None:
    broken = {**NOTICE, "alerts": [{**ALERT, "title": "a\nBcc: eve@example.com"}], "more": 0}
    settings = ChannelSettings(kind="email", host="h", sender="a@b.example", to=("c@d.example",))
    assert email_of(broken, settings)["Subject"] == "[Loopwright] a Bcc: eve@example.com"
    assert subject_of({**NOTICE, "event": "resolved", "more": 0}).startswith("Resolved: ")
