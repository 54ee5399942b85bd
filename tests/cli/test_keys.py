"""`loopwright keys` from outside."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from tests.cli.stand_in import SECRET, House

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def _key(number: int, name: str, **changed: Any) -> dict[str, Any]:
    plain = {
        "id": number,
        "project_id": 1,
        "project": "default",
        "name": name,
        "prefix": f"lw-abcde{number}",
        "admin": False,
        "models": None,
        "created_at": "2026-11-21T09:00:00Z",
        "revoked_at": None,
    }
    return {**plain, **changed}


def test_a_new_secret_stands_alone_on_stdout(run: Run, house: House) -> None:
    done = run("keys", "create", "billing", "--project", "shop", "--model", "a", "--model", "b", house=house)
    assert done.returncode == 0
    assert done.stdout == f"{SECRET}\n"
    assert "may call a, b" in done.stderr
    sent = [body for method, _, body in house.asked if method == "POST"]
    assert sent == [{"name": "billing", "project": "shop", "admin": False, "models": ["a", "b"]}]


def test_a_key_is_kept_to_tasks_and_routes_and_ends(run: Run, house: House) -> None:
    done = run(
        *("keys", "create", "batch", "--task", "triage", "--operation", "chat", "--operation", "rerank"),
        *("--expires", "2199-01-31T18:00Z"),
        house=house,
    )
    assert done.returncode == 0, done.stderr
    (sent,) = [body for method, _, body in house.asked if method == "POST"]
    assert sent["tasks"] == ["triage"]
    assert sent["operations"] == ["chat", "rerank"]
    assert sent["expires_at"] == "2199-01-31T18:00:00.000Z"
    assert "by chat, rerank only" in done.stderr
    assert "until 2199-" in done.stderr


@pytest.mark.parametrize(
    ("given", "says"), [("soon", "is no time"), ("2020-01-01", "lies behind us"), ("0s", "behind")]
)
def test_an_end_that_is_none_asks_nobody(run: Run, house: House, given: str, says: str) -> None:
    done = run("keys", "create", "x", "--expires", given, house=house)
    assert done.returncode == 2
    assert says in done.stderr
    assert not house.asked


def test_create_as_json(run: Run, house: House) -> None:
    made = json.loads(run("keys", "create", "ops", "--admin", "--json", house=house).stdout)
    assert made["secret"] == SECRET
    assert made["key"]["admin"] is True
    assert made["key"]["models"] is None


def test_list(run: Run, house: House) -> None:
    house.keys = [
        _key(1, "admin", admin=True),
        _key(2, "old", revoked_at="2026-11-21T10:00:00Z"),
        _key(3, "app", models=[], operations=["chat", "rerank"], expires_at="2199-01-31T18:00:00Z"),
    ]
    shown = run("keys", "list", house=house).stdout
    assert "admin" in shown
    assert "old" not in shown
    assert "route: chat, rerank" in run("keys", "list", house=house, env={"COLUMNS": "200"}).stdout
    assert "2199-" in run("keys", "list", house=house, env={"COLUMNS": "200"}).stdout
    assert "old" in run("keys", "list", "--revoked", house=house).stdout
    assert [key["id"] for key in json.loads(run("keys", "list", "--json", house=house).stdout)["keys"]] == [1, 3]


@pytest.mark.parametrize("which", ["3", "lw-abcde3", "app"])
def test_revoke_by_id_prefix_or_name(run: Run, house: House, which: str) -> None:
    house.keys = [_key(1, "admin"), _key(3, "app")]
    done = run("keys", "revoke", which, house=house)
    assert done.returncode == 0
    assert "DELETE /api/keys/3" in house.paths()


def test_revoke_names_the_nearest(run: Run, house: House) -> None:
    house.keys = [_key(1, "billing")]
    done = run("keys", "revoke", "biling", house=house)
    assert done.returncode == 1
    assert "did you mean 'billing'?" in done.stderr


def test_a_name_that_two_keys_have_revokes_neither(run: Run, house: House) -> None:
    house.keys = [_key(1, "app"), _key(2, "app")]
    done = run("keys", "revoke", "app", house=house)
    assert done.returncode == 1
    assert "Say which by its id: 1, 2" in done.stderr
    assert not [path for path in house.paths() if path.startswith("DELETE")]


def test_a_secret_on_the_command_line_is_refused_and_not_repeated(run: Run, house: House) -> None:
    done = run("keys", "revoke", SECRET, house=house)
    assert done.returncode == 2
    assert SECRET not in done.stderr
