"""What can be said of datasets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from loopwright.kit.settings_marks import Between, Positive


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetSettings:
    """Datasets: files of examples that are imported."""

    upload_limit: Annotated[int, Between(low=1_000, high=10**12, unit="bytes")] = 2_000_000_000
    """Bytes of one uploaded file of examples; more is 413."""
    examples: Positive = 2_000_000
    """Examples a version may have."""
