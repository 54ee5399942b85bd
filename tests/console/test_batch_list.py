"""The pages of batches: lists, one batch, its files, its early end."""

import io
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from psycopg.types.json import Jsonb

from loopwright.batches.files import NewFile
from loopwright.core.money import NANO
from tests.console.housing import ATTACK, House, csrf


def batch(house: House, key: str = "clerk", **changes: Any) -> str:
    """A row as the batches' own room writes it."""
    who = house.app.keys.find(house.secrets[key])
    assert who is not None
    batch_id = "batch_" + house.ids.new().replace("-", "")
    fields: dict[str, Any] = {
        "id": batch_id, "project_id": who.project_id, "key_id": who.key_id, "endpoint": "/v1/chat/completions",
        "input_file_id": "file-none", "status": "in_progress", "model": "parrot", "total": 200, "completed": 120,
        "failed": 3, "input_tokens": 900, "output_tokens": 100, "cost_nano": NANO // 4,
        "expires_at": datetime.now(UTC) + timedelta(days=1), "in_progress_at": datetime.now(UTC), **changes,
    }  # fmt: skip
    marks = ", ".join(["%s"] * len(fields))
    house.do(house.app.db.run(f"insert into batches ({', '.join(fields)}) values ({marks})", list(fields.values())))
    return batch_id


def stored(house: House, text: bytes, key: str = "clerk") -> str:
    who = house.app.keys.find(house.secrets[key])
    assert who is not None
    files = house.app.batches.files
    new = NewFile(
        project_id=who.project_id, key_id=who.key_id, filename=f"{ATTACK}.jsonl", purpose="batch", bytes=len(text),
        blob=files.blobs.put(io.BytesIO(text)),
    )  # fmt: skip
    return house.do(files.add(new)).id


def test_a_batch_shows_how_far_it_is(house: House, boss: httpx.Client) -> None:
    batch_id = batch(house, metadata=Jsonb({"run": ATTACK}))
    assert batch_id in boss.get("/batches").text
    row = boss.get(f"/batches/{batch_id}.json").json()["batch"]
    assert (row["total"], row["completed"], row["failed"], row["cost_usd"]) == (200, 120, 3, "0.25")
    assert row["key"] == "clerk"
    page = boss.get(f"/batches/{batch_id}").text
    assert "61.5%" in page
    assert "120 answered and 3 failed of 200" in page
    assert "$0.25" in page
    assert "<script>window.hacked" not in page
    assert f"tag=loopwright.batch%3A{batch_id}" in page
    assert batch_id in boss.get("/batches?status=in_progress").text
    assert batch_id not in boss.get("/batches?status=completed").text
    assert boss.get("/batches?status=lost").status_code == 400


def test_files_are_downloads(house: House, boss: httpx.Client) -> None:
    lines = b'{"custom_id": "1"}\n' * 10_000
    batch_id = batch(house, input_file_id=stored(house, b"in"), output_file_id=stored(house, lines), status="completed")
    answer = boss.get(f"/batches/{batch_id}/output.jsonl")
    assert answer.content == lines
    assert answer.headers["content-disposition"] == f'attachment; filename="{batch_id}-output.jsonl"'
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert boss.get(f"/batches/{batch_id}/input.jsonl").content == b"in"
    assert boss.get(f"/batches/{batch_id}/errors.jsonl").status_code == 404
    assert boss.get(f"/batches/{batch_id}/passwd.jsonl").status_code == 404
    with house.client() as nobody:
        assert nobody.get(f"/batches/{batch_id}/output.jsonl").status_code == 401


def test_what_is_wrong_with_an_input_is_said(house: House, boss: httpx.Client) -> None:
    errors = [{"code": "invalid_line", "message": ATTACK, "line": 7, "param": None}]
    batch_id = batch(house, status="failed", total=0, completed=0, failed=0, errors=Jsonb(errors))
    page = boss.get(f"/batches/{batch_id}").text
    assert "line 7" in page
    assert "<img src=x" not in page


def test_a_batch_is_cancelled_and_that_is_audited(house: House, clerk: httpx.Client) -> None:
    batch_id = batch(house)
    answer = clerk.post(f"/batches/{batch_id}/cancel", data={"csrf": csrf(clerk.get(f"/batches/{batch_id}"))})
    assert "cancelling" in answer.text
    [act] = house.do(house.app.audit.page(act="batch.cancel", limit=1))
    assert (act.who, act.subject) == ("clerk", f"batch {batch_id}")
    done = batch(house, status="completed")
    assert clerk.post(f"/batches/{done}/cancel", data={"csrf": csrf(clerk.get("/batches"))}).status_code == 409


def test_batches_of_another_project_are_not_there(house: House, clerk: httpx.Client) -> None:
    theirs = batch(house, key="seeker", output_file_id=stored(house, b"secret", key="seeker"))
    assert theirs not in clerk.get("/batches").text
    for path in (f"/batches/{theirs}", f"/batches/{theirs}.json", f"/batches/{theirs}/output.jsonl"):
        assert clerk.get(path).status_code == 404
    assert clerk.post(f"/batches/{theirs}/cancel", data={"csrf": csrf(clerk.get("/batches"))}).status_code == 404


def test_pages_of_batches_follow_one_another(house: House, boss: httpx.Client) -> None:
    made = [batch(house, status="expired") for _ in range(120)]
    seen: list[str] = []
    after = None
    while True:
        query = {"status": "expired"} | ({} if after is None else {"after": after})
        data = boss.get("/batches.json", params=query).json()
        seen += [row["id"] for row in data["batches"]]
        after = data["next"]
        if after is None:
            break
    assert seen[:120] == made[::-1]
    assert 'rel="next"' in boss.get("/batches?status=expired").text
