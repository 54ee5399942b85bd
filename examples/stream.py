"""Stream an answer and say how fast it came: time to first token, time per token after it.

Start `make up` first. The key is in `.loopwright/admin.key`, or in LOOPWRIGHT_API_KEY.
"""

import os
import sys
import time
from pathlib import Path

from openai import OpenAI

URL = os.environ.get("LOOPWRIGHT_URL", "http://127.0.0.1:4100")
HOME = Path(os.environ.get("LOOPWRIGHT_HOME", ".loopwright"))
KEY = os.environ.get("LOOPWRIGHT_API_KEY") or (HOME / "admin.key").read_text().strip()
MODEL = os.environ.get("MODEL", "smollm2")


def main() -> None:
    question = " ".join(sys.argv[1:]) or "Write two sentences about the sea."
    client = OpenAI(base_url=f"{URL}/v1", api_key=KEY)
    started, first, tokens = time.perf_counter(), 0.0, 0
    stream = client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": question}],
        max_tokens=80,
        temperature=0,
        stream=True,
        stream_options={"include_usage": True},
    )
    for event in stream:
        if event.choices and event.choices[0].delta.content:
            first = first or time.perf_counter()
            print(event.choices[0].delta.content, end="", flush=True)
        if event.usage:
            tokens = event.usage.completion_tokens
    print()
    if first and tokens > 1:
        each = (time.perf_counter() - first) / (tokens - 1)
        print(
            f"-- first token after {(first - started) * 1e3:.0f} ms, then {each * 1e3:.1f} ms a token", file=sys.stderr
        )


if __name__ == "__main__":
    main()
