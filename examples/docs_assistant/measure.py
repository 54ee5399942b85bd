"""How often the assistant quotes the right page, and how often it says that it does not know, on `held_out.jsonl`.

No model writes anything here: what is measured is what the drawer shows first.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.request import Request, urlopen

URL = os.environ.get("LOOPWRIGHT_URL", "http://127.0.0.1:4100")
HOME = Path(os.environ.get("LOOPWRIGHT_HOME", ".loopwright"))
KEY = os.environ.get("LOOPWRIGHT_API_KEY") or (HOME / "admin.key").read_text().strip()
QUESTIONS = Path(__file__).with_name("held_out.jsonl")


def asked(question: str) -> dict[str, Any]:
    request = Request(f"{URL}/help.json?q={quote(question)}", headers={"authorization": f"Bearer {KEY}"})
    with urlopen(request, timeout=60) as answer:
        return dict(json.load(answer)["found"])


def main() -> None:
    found = [(each["pages"], asked(each["query"])) for each in map(json.loads, QUESTIONS.read_text().splitlines())]
    own = [(pages, told) for pages, told in found if pages]
    foreign = [told for pages, told in found if not pages]
    right = [
        [any(f"docs/{page}" in quote["document"] for page in pages) for quote in told["quotes"]] for pages, told in own
    ]
    print(f"right page among the quotes   {sum(map(any, right))} of {len(own)}")
    print(f"right page quoted first       {sum(each[:1] == [True] for each in right)} of {len(own)}")
    print(f"taken for unanswered          {sum(told['weak'] for _, told in own)} of {len(own)}")
    print(f"foreign questions refused     {sum(told['weak'] for told in foreign)} of {len(foreign)}")


if __name__ == "__main__":
    main()
