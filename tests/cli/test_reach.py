"""What a person names: a number, or a name that only one has."""

from __future__ import annotations

import pytest

from loopwright.cli.reach import numbered
from loopwright.core.errors import NotFound


def test_a_name_stands_for_its_number_when_only_one_has_it() -> None:
    listed = [{"id": 3, "name": "nightly"}, {"id": 4, "name": "twice"}, {"id": 5, "name": "twice"}]
    assert numbered(lambda: listed, "7", "name") == 7
    assert numbered(lambda: listed, "nightly", "name") == 3
    with pytest.raises(NotFound, match="several of 'twice': 4, 5"):
        numbered(lambda: listed, "twice", "name")
    with pytest.raises(NotFound, match="none of 'never'"):
        numbered(lambda: listed, "never", "name")
