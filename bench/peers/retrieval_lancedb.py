"""LanceDB for `../retrieval.py`, run by an environment of its own: `python retrieval_lancedb.py FOLDER flat|IVF_HNSW_SQ`.

Reads vectors, questions and the numbers that filters go by from the folder; prints a line of JSON for each filter.
"""

import json
import sys
import time
from pathlib import Path

import lancedb
import numpy as np
import pyarrow as pa

FILTERS = {"100 %": None, "10 %": "tenth = 0", "1 %": "tenant = 0"}


def main() -> None:
    folder, way = Path(sys.argv[1]), sys.argv[2]
    vectors = np.load(folder / "vectors.npy").astype(np.float32)
    questions, order = np.load(folder / "questions.npy"), np.load(folder / "order.npy")
    kept = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), vectors.shape[1])
    columns = {"id": np.arange(len(vectors)), "tenth": order % 10, "tenant": order % 100}
    place = folder / f"{way}.lance"
    table = lancedb.connect(place).create_table("chunks", pa.table({"vector": kept, **columns}))
    for column in ("tenth", "tenant"):
        table.create_scalar_index(column, index_type="BITMAP")
    if way != "flat":
        table.create_index(
            metric="dot", vector_column_name="vector", index_type=way, num_partitions=1, m=16, ef_construction=100
        )
    size = sum(each.stat().st_size for each in place.rglob("*") if each.is_file()) / 1e6
    for name, where in FILTERS.items():
        took, found = [], []
        used = time.process_time()
        for question in questions:
            began = time.perf_counter()
            query = table.search(question).distance_type("dot").limit(10).select(["id"])
            if way != "flat":
                query = query.ef(200)
            if where is not None:
                query = query.where(where, prefilter=True)
            found.append([row["id"] for row in query.to_list()])
            took.append(time.perf_counter() - began)
        cpu = (time.process_time() - used) / len(questions)
        print(json.dumps({"filter": name, "took": took, "cpu": cpu, "found": found, "mb": size}))


if __name__ == "__main__":
    main()
