"""wandb's own library, offline: a run of the house written by it and brought back, and one that it recorded itself."""

from __future__ import annotations

import json
import os
import sys

import wandb

from loopwright import Client
from loopwright.client.carrying import keep, take
from loopwright.runs.wandb_offline import Wandb


def recorded(folder: str) -> None:
    """A run as its users make one."""
    quiet = wandb.Settings(silent=True, console="off", x_disable_stats=True)
    with wandb.init(
        mode="offline", dir=folder, project="theirs", name="own", config={"rate": 0.1}, settings=quiet
    ) as run:
        for step in range(40):
            run.log({"loss": 1.0 / (step + 1), "note": "x" * 2_000})


def main(run_id: str) -> None:
    """Everything, as one JSON object."""
    tracker = Wandb("offline")
    with Client(os.environ["OPENAI_BASE_URL"].removesuffix("/v1"), os.environ["OPENAI_API_KEY"]) as client:
        placed = tracker.put(take(client, run_id))
        again = tracker.put(take(client, run_id))
        recorded("offline")
        brought = {bundle.experiment: keep(client, bundle, tracker="wandb") for bundle in tracker.bundles(None)}
        json.dump({"same": placed == again, "brought": brought}, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1])
