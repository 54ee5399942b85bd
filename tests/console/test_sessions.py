from pathlib import Path

import pytest

from loopwright.console.sessions import LIFETIME, Attempts, Sessions, matches, secret_of
from loopwright.core.errors import Busy, StartError


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def test_a_session_is_read_by_any_worker_with_the_secret() -> None:
    cookie = Sessions(b"s" * 32).open(7)
    session = Sessions(b"s" * 32).read(cookie)
    assert session is not None
    assert session.key_id == 7
    assert len(session.csrf) > 30


def test_another_secret_reads_nothing() -> None:
    assert Sessions(b"t" * 32).read(Sessions(b"s" * 32).open(7)) is None


def test_a_session_ends() -> None:
    clock = Clock()
    sessions = Sessions(b"s" * 32, clock=clock)
    cookie = sessions.open(7)
    clock.now += LIFETIME - 1
    assert sessions.read(cookie) is not None
    clock.now += 1
    assert sessions.read(cookie) is None


@pytest.mark.parametrize("cookie", ["", ".", "a.b", "x" * 600, "é.é", "e30.e30"])
def test_rubbish_is_no_session(cookie: str) -> None:
    assert Sessions(b"s" * 32).read(cookie) is None


def test_every_changed_character_is_noticed() -> None:
    sessions = Sessions(b"s" * 32)
    cookie = sessions.open(7)
    for at, char in enumerate(cookie):
        forged = cookie[:at] + ("A" if char != "A" else "B") + cookie[at + 1 :]
        if at == len(cookie) - 1:
            continue  # The last character of base64 holds bits that say nothing.
        assert sessions.read(forged) is None


def test_tokens_differ_between_sessions() -> None:
    sessions = Sessions(b"s" * 32)
    one, two = sessions.read(sessions.open(7)), sessions.read(sessions.open(7))
    assert one is not None
    assert two is not None
    assert one.csrf != two.csrf
    assert matches(one.csrf, one.csrf)
    assert not matches(one.csrf, two.csrf)
    assert not matches("", "")


def test_the_secret_is_made_once_and_private(tmp_path: Path) -> None:
    home = tmp_path / "new"
    secret = secret_of(home)
    assert len(secret) == 32
    assert secret_of(home) == secret
    assert (home / "console.secret").stat().st_mode & 0o777 == 0o600
    assert [file.name for file in home.iterdir()] == ["console.secret"]


def test_a_damaged_secret_is_said(tmp_path: Path) -> None:
    (tmp_path / "console.secret").write_bytes(b"short")
    with pytest.raises(StartError, match="delete it"):
        secret_of(tmp_path)


def test_sign_ins_are_limited_by_address() -> None:
    clock = Clock()
    attempts = Attempts(limit=3, window=60, clock=clock)
    for _ in range(3):
        attempts.check("a")
        attempts.refused("a")
    with pytest.raises(Busy, match="try again in 60 seconds") as raised:
        attempts.check("a")
    assert raised.value.retry_after == pytest.approx(60)
    attempts.check("b")
    clock.now += 61
    attempts.check("a")
