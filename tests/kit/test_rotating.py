from pathlib import Path

from loopwright.kit.rotating import RotatingLog


def test_it_never_outgrows_two_files(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "x.log"
    with RotatingLog(path, limit=1000) as log:
        for i in range(300):
            log.write(f"line {i:03}\n".encode())
    older = path.with_name("x.log.1")
    assert path.stat().st_size <= 1000
    assert older.stat().st_size <= 1000
    kept = (older.read_text() + path.read_text()).split("\n")
    assert kept[-2] == "line 299"
    assert len(kept) > 100


def test_it_goes_on_where_it_was(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    for word in ("one", "two"):
        with RotatingLog(path) as log:
            log.write(word.encode() + b"\n")
    assert path.read_text() == "one\ntwo\n"


def test_the_last_lines_are_whole_even_when_they_came_in_pieces(tmp_path: Path) -> None:
    with RotatingLog(tmp_path / "x.log", keep=3) as log:
        for piece in (b"a\nb", b"b\n\n", b"c\nd\n", "é".encode()[:1], "é".encode()[1:]):
            log.write(piece)
        assert log.last() == ["bb", "c", "d", "é"]
        assert log.last(1) == ["é"]


def test_a_line_without_end_does_not_fill_the_memory(tmp_path: Path) -> None:
    with RotatingLog(tmp_path / "x.log", limit=100_000) as log:
        for _ in range(50):
            log.write(b"x" * 10_000)
        assert sum(map(len, log.last())) <= 2000


def test_a_file_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    with RotatingLog(tmp_path / "x.log", limit=10) as log:
        log.write(b"first one\n")
        (tmp_path / "x.log").unlink()
        (tmp_path / "x.log").mkdir()  # rotation fails from now on
        (tmp_path / "x.log.1").mkdir()
        (tmp_path / "x.log.1" / "full").touch()
        log.write(b"second\n")
        assert log.last() == ["first one", "second"]
