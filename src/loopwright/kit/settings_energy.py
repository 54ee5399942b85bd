"""Settings of energy: what engines of ours take, and where their electricity comes from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from loopwright.kit.settings_marks import Between


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergySettings:
    """Energy and CO2 of calls: metered for engines of ours, estimated for models elsewhere."""

    zone: str = "WOR"
    """Whose electricity engines of ours take: ISO 3166-1 alpha-3 (`DEU`, `FRA`, `USA`), or `WOR` for the world."""
    watts_per_thread: Annotated[float, Between(low=0.1, high=100)] = 4.0
    """Watts of a busy processor thread where the processor does not meter itself; CodeCarbon's figure."""
    watts_per_gb: Annotated[float, Between(low=0, high=10)] = 0.375
    """Watts of a gigabyte of memory that weights and KV cache hold; CodeCarbon's figure, 3 W for 8 GB."""
    pue: Annotated[float, Between(low=1, high=5)] = 1.0
    """Power usage effectiveness: what cooling and supply take, as a factor."""
