"""Ask a model one question through Loopwright, with the unmodified `openai` SDK.

Start `make up` first. The key is in `.loopwright/admin.key`, or in LOOPWRIGHT_API_KEY.
"""

import os
import sys
from pathlib import Path

from openai import OpenAI

URL = os.environ.get("LOOPWRIGHT_URL", "http://127.0.0.1:4100")
HOME = Path(os.environ.get("LOOPWRIGHT_HOME", ".loopwright"))
KEY = os.environ.get("LOOPWRIGHT_API_KEY") or (HOME / "admin.key").read_text().strip()
MODEL = os.environ.get("MODEL", "smollm2")


def main() -> None:
    question = " ".join(sys.argv[1:]) or "Name three rivers in Europe."
    client = OpenAI(base_url=f"{URL}/v1", api_key=KEY)
    answer = client.chat.completions.with_raw_response.create(
        model=MODEL,
        messages=[{"role": "user", "content": question}],
        max_tokens=80,
        temperature=0,
        extra_body={"loopwright": {"session": "examples", "tags": {"example": "chat"}}},
    )
    print(answer.parse().choices[0].message.content)
    print(f"-- {MODEL}, call {answer.headers['x-loopwright-call-id']}: {URL}/calls", file=sys.stderr)


if __name__ == "__main__":
    main()
