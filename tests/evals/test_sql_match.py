from __future__ import annotations

import sqlite3
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from loopwright.core.errors import BadRequest
from loopwright.evals.evaluator import Tools
from loopwright.evals.evaluators import make
from loopwright.evals.sql_match import is_ordered
from loopwright.evals.sql_sandbox import Failed, Sandbox, Stopped
from tests.evals.evaluating import DATA, found, rows

SCRIPT = """
PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE town (name TEXT, people INTEGER, area REAL);
INSERT INTO town VALUES ('Bonn', 330000, 141.1), ('Köln', 1080000, 405.0), ('Ulm', 126000, 118.7);
COMMIT;
"""
MANY = ", ".join(f"town t{at}" for at in range(19))
"""Three to the 19th rows."""


def match(query: str, expected: Any, **args: Any) -> Any:
    return found({"kind": "sql_match", "args": {"script": SCRIPT, **args}}, query, expected)


@pytest.mark.parametrize(
    ("query", "expected", "value"),
    [
        ("SELECT name FROM town", "SELECT name FROM town ORDER BY rowid DESC", 0.0),
        ("SELECT name FROM town ORDER BY people", "SELECT name FROM town", 1.0),
        ("SELECT name FROM town ORDER BY people", "SELECT name FROM town ORDER BY area;", 1.0),
        ("SELECT name FROM town ORDER BY people DESC", "SELECT name FROM town ORDER BY area", 0.0),
        ("SELECT t.name AS x FROM town t WHERE people > 200000", "SELECT name FROM town WHERE name <> 'Ulm'", 1.0),
        ("SELECT name FROM town UNION ALL SELECT name FROM town", "SELECT name FROM town", 0.0),
        ("SELECT count(*) * 1.0 FROM town", "SELECT 3", 1.0),
        ("SELECT avg(area) FROM town", "SELECT sum(area) / 3 FROM town", 1.0),
        ("SELECT name, people FROM town", "SELECT people, name FROM town", 0.0),
        ("SELECT name FROM town WHERE 0", "SELECT people, name FROM town WHERE 0", 0.0),
        ("```sql\nSELECT 3;\n```\nThree.", ["SELECT 4", "SELECT count(*) FROM town"], 1.0),
        ("SELECT NULL", "SELECT NULL", 1.0),
    ],
)
def test_queries_match_by_their_rows(query: str, expected: Any, value: float) -> None:
    assert match(query, expected).value == value


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("SELECT nam FROM town", "no such column"),
        ("SELECT * FROM town; SELECT 1 FROM", "3 rows"),
        ("SELECT load_extension('x')", "not authorized"),
        ("SELECT * FROM pragma_database_list", "more than read"),
        ("SELECT randomblob(99)", "not authorized"),
        (f"SELECT t1.name FROM {MANY}", "more than 1000 rows"),
        ("WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT max(x) FROM c", "too long"),
        ("WITH RECURSIVE c(x) AS (SELECT 'a' UNION ALL SELECT x || x FROM c) SELECT max(length(x)) FROM c", "too big"),
        (f"SELECT count(*) FROM {MANY}", "too long"),
        ("SELECT " + "(" * 500 + "1" + ")" * 500, ""),
    ],
)
def test_queries_that_fail_or_would_do_harm_are_wrong(query: str, why: str) -> None:
    score = match(query, "SELECT 1", timeout=0.5, most_rows=1000)
    assert score.value == 0.0
    assert why in score.explanation


@pytest.mark.parametrize(
    "text", ["DROP TABLE town", "DELETE FROM town", "ATTACH 'x' AS y", "I cannot.", "PRAGMA user_version"]
)
def test_answers_without_a_reading_query(text: str) -> None:
    assert match(text, "SELECT 1").label == "unread"


def test_a_wrong_reference_is_nobodys_fault() -> None:
    assert "the expected query fails" in (match("SELECT 1", "SELECT nothing").missing or "")


def test_nothing_can_be_written_whatever_is_asked(tmp_path: Path) -> None:
    """Past the parser of answers, straight into the sandbox."""
    path, script = tmp_path / "towns.sqlite", "CREATE TABLE t (a); INSERT INTO t VALUES (1);"
    with sqlite3.connect(path) as connection:
        connection.executescript(script)
    connection.close()
    before = path.read_bytes()
    for sandbox in (Sandbox(path=path, seconds=0.5), Sandbox(script=script, seconds=0.5)):
        for query in (
            "DELETE FROM t", "INSERT INTO t VALUES (2)", "CREATE TABLE u (a)", "CREATE TEMP TABLE u (a)", "VACUUM INTO 'x'",
            "PRAGMA writable_schema=1", "ATTACH ':memory:' AS m", "BEGIN", "DROP TABLE t", "WITH x AS (SELECT 1) DELETE FROM t",
        ):  # fmt: skip
            with pytest.raises(Failed):
                sandbox.run(query)
        assert sandbox.run("SELECT a FROM t").rows == ((1,),)
        with pytest.raises(Stopped):
            sandbox.run("SELECT 1" + " " * 30_000)
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["towns.sqlite"]


def test_a_file_is_named_by_the_house_only_and_must_be_a_database(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"no database at all, but long enough" * 100)
    with pytest.raises(BadRequest, match="not a database"):
        make({"kind": "sql_match", "args": {"database": str(tmp_path / "x")}}, Tools(functions=True))
    with pytest.raises(BadRequest, match="unable to open"):
        make({"kind": "sql_match", "args": {"database": str(tmp_path / "absent")}}, Tools(functions=True))


def test_scripts_make_tables_of_bounded_size_and_nothing_else() -> None:
    for script in (
        "CREATE TABLE t (",
        "ATTACH 'x' AS y",
        "SELECT load_extension('x')",
        "PRAGMA temp_store_directory='x'",
    ):
        with pytest.raises(BadRequest) as caught:
            Sandbox(script=script)
        assert caught.value.param == "args.script"
    with pytest.raises(BadRequest, match=r"full|too long"):
        Sandbox(
            script="CREATE TABLE t (a); WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c)"
            " INSERT INTO t SELECT hex(x) || hex(x) || hex(x) FROM c",
            seconds=0.2,
        )


def test_whether_a_query_is_ordered() -> None:
    assert is_ordered("SELECT a FROM t ORDER  BY a")
    assert not is_ordered("SELECT a FROM (SELECT a FROM t ORDER BY a LIMIT 3)")
    assert not is_ordered("SELECT ' order by ' FROM t -- order by a")


def test_every_query_of_geography_matches_itself_and_few_others() -> None:
    asked = rows("text_to_sql/geo_test.jsonl")
    database = str(DATA / "text_to_sql" / "geography.sqlite")
    spec = {"kind": "sql_match", "args": {"database": database}}
    queries = [row["completion"][0]["content"] for row in asked]
    own = [found(spec, f"```sql\n{query};\n```", query, tools=Tools(functions=True)).value for query in queries]
    assert own == [1.0] * len(queries)
    others = [
        found(spec, one, other, tools=Tools(functions=True)).value for one, other in pairwise(queries) if one != other
    ]
    assert sum(each or 0 for each in others) / len(others) < 0.2
