"""Schemathesis over the document of the house's HTTP API: what it says may be sent, and what it says may not."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from typing import Any

import httpx
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode

URL = os.environ["OPENAI_BASE_URL"].removesuffix("/v1")
HEADERS = {"authorization": f"Bearer {os.environ['OPENAI_API_KEY']}"}
MODEL = "script"
MOST = int(sys.argv[1])
"""Examples of each operation, in each mode."""


def document() -> dict[str, Any]:
    """What the house says of itself; its models narrowed to one that exists, for most names would end in a 404."""
    found: dict[str, Any] = httpx.get(f"{URL}/api/openapi.json", headers=HEADERS, timeout=60).json()
    for shape in found["components"]["schemas"].values():
        properties = shape.get("properties", {})
        if "model" in properties and "model" in shape.get("required", ()):
            properties["model"] = {"const": MODEL}
    return found


def probe(operation: Any, mode: GenerationMode, met: Counter[str], wrong: list[dict[str, Any]]) -> None:
    """Ask what one operation is said to take, or is not."""

    @settings(
        max_examples=MOST,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        answer = case.call(base_url=URL, headers=HEADERS, timeout=60)
        met[f"{operation.label} {answer.status_code}"] += 1
        # A script cannot keep every form that is demanded of it, and an answer that does not fit is a 502 by design.
        unfit = answer.status_code == 502 and "the model's answer does not fit" in answer.text
        if answer.status_code >= 500 and not unfit:
            wrong.append({"asked": case.as_curl_command(), "status": answer.status_code, "said": answer.text[:500]})

    ask()


def main() -> None:
    """Every operation in both modes, as one JSON object."""
    met: Counter[str] = Counter()
    wrong: list[dict[str, Any]] = []
    for found in schemathesis.openapi.from_dict(document()).get_all_operations():
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            probe(found.ok(), mode, met, wrong)
    json.dump({"met": met, "wrong": wrong}, sys.stdout)


if __name__ == "__main__":
    main()
