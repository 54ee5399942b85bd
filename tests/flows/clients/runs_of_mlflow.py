"""MLflow's own client as people use it, telling of runs; the house is its tracking server, or a server of MLflow's is."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import mlflow
from mlflow.tracking import MlflowClient


def tell() -> dict[str, Any]:
    """A run with all that belongs to it; what the client reads of it afterwards."""
    mlflow.set_experiment("from mlflow")
    Path("model.txt").write_text("weights", encoding="utf-8")
    with mlflow.start_run(run_name="theirs", tags={"team": "x"}) as run:
        mlflow.log_params({"rate": 0.1, "layers": "[2, 3]"})
        for step in range(5):
            mlflow.log_metric("loss", 1.0 / (step + 1), step=step)
        mlflow.log_metrics({"accuracy": 0.75, "diverged": float("nan")})
        mlflow.set_tag("mlflow.note.content", "noted there")
        mlflow.log_artifact("model.txt", "models/one")
        mlflow.log_dict({"a": [1]}, "facts.json")
    client = MlflowClient()
    again = client.get_run(run.info.run_id)
    experiment = client.get_experiment_by_name("from mlflow")
    found = client.search_runs(
        [experiment.experiment_id], "metrics.loss < 0.5 and params.rate = '0.1'", order_by=["metrics.loss DESC"]
    )
    none = client.search_runs([experiment.experiment_id], "attributes.status = 'FAILED'")
    return {
        "run": run.info.run_id,
        "status": again.info.status,
        "name": again.info.run_name,
        "params": again.data.params,
        "accuracy": again.data.metrics["accuracy"],
        "tags": {name: value for name, value in again.data.tags.items() if not name.startswith("mlflow.")},
        "history": [[point.step, point.value] for point in client.get_metric_history(run.info.run_id, "loss")],
        "files": [each.path for each in client.list_artifacts(run.info.run_id)],
        "inside": [[each.path, each.file_size] for each in client.list_artifacts(run.info.run_id, "models/one")],
        "weights": Path(client.download_artifacts(run.info.run_id, "models/one/model.txt")).read_text(encoding="utf-8"),
        "found": [each.info.run_id for each in found],
        "none": len(none),
        "missing": client.get_experiment_by_name("never made") is None,
    }


def read(experiment: str) -> list[dict[str, Any]]:
    """What stands in an experiment, as the client reads it."""
    client = MlflowClient()
    owner = client.get_experiment_by_name(experiment)
    return [
        {
            "name": run.info.run_name,
            "status": run.info.status,
            "params": run.data.params,
            "tags": run.data.tags,
            "data": [[each.dataset.name, each.dataset.source] for each in run.inputs.dataset_inputs],
            "history": {
                name: [[point.step, point.value] for point in client.get_metric_history(run.info.run_id, name)]
                for name in run.data.metrics
                if name != "diverged"
            },
            "log": Path(client.download_artifacts(run.info.run_id, "notes/log.txt")).read_text(encoding="utf-8"),
        }
        for run in client.search_runs([owner.experiment_id])
    ]


if __name__ == "__main__":
    mlflow.set_tracking_uri(sys.argv[1])
    json.dump({"told": tell(), "read": [run for each in sys.argv[2:] for run in read(each)]}, sys.stdout)
