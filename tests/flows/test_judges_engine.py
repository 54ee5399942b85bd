"""The procedure of pairs on the real small model: it runs, and says honestly what the judge is worth."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.flows.house import House

PAIRS = [
    ("the club sold its stadium in 2012 to a bank.", "the club sold its stadium.", "the bank sold the club."),
    ("two of the nine miners were rescued on sunday.", "two miners were rescued.", "nine miners were rescued."),
]


def test_a_small_model_is_not_trusted(house: House, tmp_path: Path) -> None:
    file = tmp_path / "pairs.jsonl"
    rows = [{"article_sent": said, "correct_sent": right, "incorrect_sent": wrong} for said, right, wrong in PAIRS]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    env = {**os.environ, "LOOPWRIGHT_URL": house.url, "LOOPWRIGHT_API_KEY": house.key}
    words = ("judges", "pairs", str(file), "-m", "smollm2-135m-instruct", "--repeats", "0", "-c", "2", "--json")
    command = [sys.executable, "-m", "loopwright.cli.main", *words]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    [found] = json.loads(done.stdout)["models"]
    told = found["outcome"]
    counted = ("right", "wrong", "first", "second", "undecided", "missing")
    assert told["pairs"] == sum(told[name] for name in counted) == 2
    assert told["missing"] == 0  # the schema holds even a small model to its verdicts
    assert found["card"]["calls"] == 4
    assert found["card"]["cost_nano"] >= 0
    assert not found["trusted"]
    assert "only 2 labelled" in found["reasons"][0]
