"""Where notices go: a signed webhook, a webhook shaped like Slack's, e-mail. One call is one attempt."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import smtplib
import ssl
import time
from collections.abc import Mapping, Sequence
from email.message import EmailMessage
from email.utils import formatdate
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from loopwright import __version__
from loopwright.core.errors import LoopwrightError
from loopwright.kit.http import HttpClient
from loopwright.kit.settings import Timeouts
from loopwright.kit.settings_alerts import ChannelSettings

_TIMEOUT: Final = 10.0
"""Seconds an attempt may take."""
_ANSWER: Final = 65_536
_LONGEST_ERROR: Final = 300
_SHOWN: Final = 20
"""Alerts that a notice for people names."""
_MARKS: Final = {
    "critical": "\N{LARGE RED CIRCLE}",
    "warning": "\N{LARGE ORANGE CIRCLE}",
    "info": "\N{LARGE BLUE CIRCLE}",
}
_WORDS: Final = {"firing": "", "reminder": "Still: ", "resolved": "Resolved: ", "test": "Test: "}


class NotDelivered(Exception):
    """A notice was not taken. `again` says whether trying again may help."""

    def __init__(self, why: str, *, again: bool = True) -> None:
        super().__init__(why[:_LONGEST_ERROR])
        self.again = again


class Channel(Protocol):
    """Takes a notice. The notice is `alerts_delivery.notice`'s."""

    async def __call__(self, notice: Mapping[str, Any]) -> None:
        """Deliver it.

        Raises:
            NotDelivered: it was not taken.
        """
        ...


def channel(settings: ChannelSettings) -> Channel:
    """The channel that is configured."""
    if settings.kind == "email":
        return _Email(settings)
    return _Posted(settings)


def where(settings: ChannelSettings) -> str:
    """Where a channel leads, for people: of an address only its host, as the rest of it is a secret."""
    if settings.kind == "email":
        return f"{len(settings.to)} by {settings.host}:{settings.port}"
    parts = urlsplit(settings.url or "")
    return f"{parts.scheme}://{parts.hostname or ''}" + (f":{parts.port}" if parts.port else "")


def signature(secret: str, body: bytes, at: int) -> str:
    """What a webhook is signed with: `t=SECONDS,v1=HEX`, HMAC-SHA256 of `SECONDS.BODY`.

    A receiver computes it anew over the bytes it got, compares in constant time, and refuses old times, so that a
    notice that somebody kept cannot be sent again.
    """
    digest = hmac.new(secret.encode(), b"%d." % at + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"


class _Posted:
    """Webhooks, signed and Slack-shaped. Redirects are not followed: whoever answers one takes nothing."""

    def __init__(self, settings: ChannelSettings) -> None:
        self._settings = settings

    async def __call__(self, notice: Mapping[str, Any]) -> None:
        slack = self._settings.kind == "slack"
        body = json.dumps(slack_of(notice) if slack else notice, separators=(",", ":")).encode()
        headers = {
            "content-type": "application/json",
            "user-agent": f"Loopwright/{__version__}",
            "loopwright-delivery": str(notice["delivery"]),
            "loopwright-event": str(notice["event"]),
        }
        if self._settings.secret is not None:
            headers["loopwright-signature"] = signature(self._settings.secret, body, int(time.time()))
        path = urlsplit(self._settings.url or "").path
        last = "/" if not path or path.endswith("/") else ""
        try:
            client = HttpClient(
                base_url=self._settings.url or "",
                timeouts=Timeouts(connect=5.0, first_token=_TIMEOUT, between_tokens=_TIMEOUT, total=_TIMEOUT),
                limit=1,
                body_limit=_ANSWER,
                link_local=self._settings.link_local,
            )
        except LoopwrightError:
            raise NotDelivered(
                "the channel's address cannot be used: see its url in the settings", again=False
            ) from None
        try:
            reply = await asyncio.wait_for(client.request("POST", last, body, headers), _TIMEOUT)
        except TimeoutError:
            raise NotDelivered(f"no answer within {_TIMEOUT:g} s") from None
        except LoopwrightError as error:
            # The message may name the address, of which a part is the secret.
            raise NotDelivered(f"{where(self._settings)} did not take it: {error.code}") from None
        finally:
            await client.close()
        if not 200 <= reply.status < 300:
            raise NotDelivered(
                f"answered with status {reply.status}", again=reply.status >= 500 or reply.status in _LATER
            )


class _Email:
    def __init__(self, settings: ChannelSettings) -> None:
        self._settings = settings

    async def __call__(self, notice: Mapping[str, Any]) -> None:
        message = email_of(notice, self._settings)
        try:
            # smtplib blocks: a thread of its own for the seconds it takes.
            await asyncio.wait_for(asyncio.to_thread(self._send, message), 3 * _TIMEOUT)
        except TimeoutError:
            raise NotDelivered("the mail server did not answer in time") from None
        except smtplib.SMTPAuthenticationError as error:
            raise NotDelivered(f"the mail server refused user and password ({error.smtp_code})", again=False) from None
        except smtplib.SMTPRecipientsRefused as error:
            codes = sorted({code for code, _ in error.recipients.values()})
            raise NotDelivered(f"the mail server refused every address ({codes})", again=min(codes) < 500) from None
        except smtplib.SMTPResponseException as error:
            raise NotDelivered(f"the mail server answered {error.smtp_code}", again=error.smtp_code < 500) from None
        except (smtplib.SMTPException, ssl.SSLError, OSError) as error:
            raise NotDelivered(f"the mail server cannot be used: {type(error).__name__}") from None

    def _send(self, message: EmailMessage) -> None:
        asked = self._settings
        host, port = asked.host or "", asked.port
        context = ssl.create_default_context()
        server: smtplib.SMTP
        if asked.security == "tls":
            server = smtplib.SMTP_SSL(host, port, timeout=_TIMEOUT, context=context)
        else:
            server = smtplib.SMTP(host, port, timeout=_TIMEOUT)
        with server:
            if asked.security == "starttls":
                server.starttls(context=context)
            if asked.user is not None:
                server.login(asked.user, asked.password or "")
            server.send_message(message)


def subject_of(notice: Mapping[str, Any]) -> str:
    """One line for people."""
    alerts: Sequence[Mapping[str, Any]] = notice["alerts"]
    word = _WORDS[notice["event"]]
    if not alerts:
        return f"{word}nothing is wrong"
    more = len(alerts) + int(notice["more"]) - 1
    return f"{word}{alerts[0]['title']}" + (f" (and {more} more)" if more else "")


def slack_of(notice: Mapping[str, Any]) -> dict[str, Any]:
    """A notice as Slack's incoming webhooks take it: words are words, never markup, mentions or links of their own."""
    lines = []
    for alert in notice["alerts"][:_SHOWN]:
        mark = "\N{LARGE GREEN CIRCLE}" if notice["event"] == "resolved" else _MARKS.get(alert["severity"], "")
        lines.append(f"{mark} *<{_plain(alert['url'])}|{_plain(alert['title'])}>*")
        if notice["event"] in ("firing", "test"):
            said = [*alert["text"].splitlines()[:4], *alert["explanation"][:3]]
            lines += [f"> {_plain(line)}" for line in said]
    head = _plain(subject_of(notice))
    text = "\n".join(lines) or head
    return {"text": head, "blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": text[:2_900]}}]}


def email_of(notice: Mapping[str, Any], settings: ChannelSettings) -> EmailMessage:
    """A notice as a letter, of plain text only."""
    message = EmailMessage()
    message["Subject"] = f"[Loopwright] {' '.join(subject_of(notice).split())}"[:300]
    message["From"] = settings.sender
    message["To"] = ", ".join(settings.to)
    message["Date"] = formatdate()
    # The same notice sent again is the same letter, which a mailbox then shows once.
    message["Message-ID"] = f"<{notice['delivery']}@{(settings.sender or '').rpartition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"
    parts = []
    for alert in notice["alerts"][:_SHOWN]:
        lines = [alert["title"], "", alert["text"], *(["", *alert["explanation"]] if alert["explanation"] else [])]
        lines += ["", f"Alert: {alert['url']}"] + ([f"Calls: {alert['calls_url']}"] if alert["calls_url"] else [])
        parts.append("\n".join(lines))
    message.set_content("\n\n----\n\n".join(parts) + "\n")
    return message


def _plain(text: str) -> str:
    """Text in which Slack sees no markup: its three signs, and what would make words bold or code."""
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return escaped.replace("|", "\N{BROKEN BAR}").replace("*", "\N{ASTERISK OPERATOR}").replace("`", "'")


_LATER: Final = (408, 425, 429)
