from pathlib import Path

import pytest

from loopwright.kit.rest_files import Form


def body(form: Form, path: Path) -> bytes:
    with path.open("rb") as file:
        return b"".join(form.pieces(file))


@pytest.mark.parametrize("size", [0, 1, (1 << 18) - 1, 1 << 18, (1 << 18) + 1])
def test_the_body_is_as_long_as_was_told(tmp_path: Path, size: int) -> None:
    path = tmp_path / "data.jsonl"
    path.write_bytes(b"x" * size)
    form = Form.of(path, {"purpose": "batch", "left out": None, "empty": ""})
    sent = body(form, path)
    assert len(sent) == int(form.headers["content-length"])
    assert sent.startswith(f"--{form.boundary}\r\n".encode())
    assert sent.endswith(f"\r\n--{form.boundary}--\r\n".encode())
    assert b'name="purpose"' in sent
    assert b"left out" not in sent
    assert b'name="empty"' not in sent


def test_what_is_appended_meanwhile_is_not_sent(tmp_path: Path) -> None:
    path = tmp_path / "growing.log"
    path.write_bytes(b"first")
    form = Form.of(path, {})
    path.write_bytes(b"first and more")
    sent = body(form, path)
    assert len(sent) == int(form.headers["content-length"])
    assert b"more" not in sent


def test_how_far_it_is_is_told(tmp_path: Path) -> None:
    path = tmp_path / "long"
    path.write_bytes(b"x" * (1 << 19))
    told: list[tuple[str, int, int | None]] = []
    with path.open("rb") as file:
        for _ in Form.of(path, {}).pieces(file, lambda *said: told.append(said)):
            pass
    assert told == [("sending", 1 << 18, 1 << 19), ("sending", 1 << 19, 1 << 19)]


def test_no_name_or_field_ends_its_line(tmp_path: Path) -> None:
    path = tmp_path / 'a"\r\nx-evil: 1\\b.txt'
    path.write_bytes(b"1")
    form = Form.of(path, {"name": "half a character: \ud800"})
    assert b"\r\nx-evil" not in form.head
    assert b'filename="ax-evil: 1b.txt"' in form.head
