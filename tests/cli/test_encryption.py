"""`loopwright encryption`, and what `check` and `doctor` say of it, from outside."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

from loopwright.kit.keyring import keys_of, new_key
from loopwright.kit.settings_encryption import EncryptionSettings
from tests.cli.stand_in import House

Run = Callable[..., "subprocess.CompletedProcess[str]"]
KEYS = "LOOPWRIGHT_ENCRYPTION_KEYS"


def test_a_new_key_can_be_used_as_it_is_printed(run: Run) -> None:
    done = run("encryption", "new-key", "autumn")
    assert done.returncode == 0
    (key,) = keys_of(EncryptionSettings(keys=done.stdout.strip()))
    assert key.id == "autumn"
    assert done.stdout.partition(":")[2].strip() not in done.stderr
    assert run("encryption", "new-key").stdout != run("encryption", "new-key").stdout
    assert run("encryption", "new-key", "no name").returncode == 2


def test_status_counts_by_key(run: Run, house: House) -> None:
    house.unsealed = 3
    done = run("encryption", "status", house=house)
    assert done.returncode == 0
    assert [line.split() for line in done.stdout.splitlines()[2:]] == [
        ["blocks", "of", "calls", "new", "7"],
        ["blocks", "of", "calls", "old", "3"],
    ]
    assert "3 not sealed with new" in done.stderr
    house.unsealed = 0
    assert "Not needed any more: old." in run("encryption", "status", house=house).stderr
    assert json.loads(run("encryption", "status", "--json", house=house).stdout)["key"] == "new"


def test_rotate_goes_on_to_the_end(run: Run, house: House) -> None:
    house.unsealed = 5
    done = run("encryption", "rotate", house=house)
    assert done.returncode == 0
    assert "All is sealed with new (5 anew). Not needed any more: old." in done.stderr
    steps = [body for method, _, body in house.asked if method == "POST"]
    assert steps == [{"after": None}, {"after": "texts:2026-11-21.7"}, {"after": "texts:2026-11-21.7"}]
    again = run("encryption", "rotate", "--json", house=house)
    assert json.loads(again.stdout) == {"done": 0, "left": 0, "key": "new"}


def test_check_tells_the_ids_of_keys_and_never_a_key(run: Run, tmp_path: Path) -> None:
    one, two = new_key("one"), new_key("two")
    assert "encryption off" in run("check").stderr
    done = run("check", env={KEYS: f"{two},{one}"})
    assert "encryption by key two, one opened" in done.stderr
    assert json.loads(run("check", "--json", env={KEYS: one}).stdout)["encryption"] == ["one"]
    wrong = run("check", env={KEYS: f"{one},{two[:-9]}"})
    assert wrong.returncode == 1
    assert wrong.stdout.startswith("environment: encryption.keys: key 'two' is not the base64 of 32 bytes")
    bare = run("check", env={KEYS: one.partition(":")[2]})
    assert bare.returncode == 1
    (tmp_path / "keys").write_text(one)
    (tmp_path / "loopwright.yaml").write_text(
        "encryption: {keys_file: keys}\nproviders: {p: {kind: scripted}}\n"
        "models: {m: {provider: p, cache: {semantic: {embedder: v}}}, v: {provider: p, operations: [embeddings]}}\n"
    )
    alike = run("check")
    assert alike.returncode == 1
    assert "models.m.cache.semantic: keeps vectors of questions, which cannot be sealed" in alike.stdout
    for shown in (done, wrong, bare, alike):
        for key in (one, two):
            assert key.partition(":")[2][:20] not in shown.stdout + shown.stderr


def test_doctor_looks_at_the_keys(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(new_key("one"))
    file.chmod(0o644)
    env = {"LOOPWRIGHT_ENCRYPTION_KEYS_FILE": str(file), "LOOPWRIGHT_SERVER_PORT": "0"}

    def findings() -> list[tuple[str, str]]:
        told = json.loads(run("doctor", "--json", env=env).stdout)["findings"]
        return [(each["state"], each["text"]) for each in told if each["name"] == "encryption"]

    assert findings() == [("ok", "texts are sealed with key one"), ("fail", f"{file} can be read by others")]
    file.chmod(0o600)
    assert findings() == [("ok", "texts are sealed with key one")]
    assert "off: prompts and answers are written as they are" in run("doctor").stdout
