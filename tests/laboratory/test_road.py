from __future__ import annotations

from loopwright.evals.spec import Target
from loopwright.laboratory.road import _Model

TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
MESSAGES = [{"role": "user", "content": "x"}]


def test_tools_of_an_example_go_with_its_messages() -> None:
    plain = _Model(target=Target(name="m", model="m"), definition={}, formed=False)
    assert plain.body({"messages": MESSAGES, "tools": TOOLS})["tools"] == TOOLS
    assert "tools" not in plain.body({"messages": MESSAGES, "tools": "none"})
    own = Target(name="m", model="m", parameters={"tools": []})
    assert _Model(target=own, definition={}, formed=False).body({"messages": MESSAGES, "tools": TOOLS})["tools"] == []
