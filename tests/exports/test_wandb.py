"""Offline runs of Weights & Biases hold the calls that were mirrored to them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


def test_offline_runs_hold_calls_and_scores(tmp_path: Path) -> None:
    found = sorted(Path(sys.prefix).glob("clients/lib/python*/site-packages/wandb"))
    if not found:
        pytest.skip("the clients are not installed: `make test` does it")
    nowhere = {"HTTP_PROXY": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9", "HOME": str(tmp_path)}
    script = Path(__file__).with_name("writing_wandb.py")
    done = subprocess.run(
        [sys.executable, script, str(found[0].parent), str(tmp_path / "out")],
        cwd=tmp_path, env={**os.environ, **nowhere}, capture_output=True, text=True, check=False, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    [file] = (tmp_path / "out").glob("wandb/offline-run-*/*.wandb")
    held = file.read_bytes()
    assert 0 < held.count(b"call-10") == held.count(b"call-11")  # the second was written at the second try
    assert all(word in held for word in (b"call-0", b"call-1", b"call-2", b"what 2", b"score/good", b"score/late"))
