"""Numbers, money and times as people read them. Values keep their units in JSON; only pages use these."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal

NOTHING = "\N{EN DASH}"
"""Where there is no value."""
_STEPS = ((1_000_000_000, "B"), (1_000_000, "M"), (1_000, "k"))


def count(value: float | None) -> str:
    """`1,234`, `56.8k`, `1.2M`."""
    if value is None:
        return NOTHING
    if abs(value) < 10_000:
        return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.3g}"
    for size, unit in _STEPS:
        # A value that would round up to 1000 of a unit belongs to the next one.
        if abs(value) >= size * 0.9995:
            return f"{value / size:.3g}{unit}" if abs(value) < 999.5 * size else f"{value / size:,.0f}{unit}"
    return f"{value:,.0f}"


def millis(ms: float | None) -> str:
    """A duration in milliseconds: `0.42 ms`, `312 ms`, `1.24 s`, `2 min 3 s`."""
    if ms is None:
        return NOTHING
    if ms < 999.5:
        return f"{ms:.3g} ms" if ms < 99.5 else f"{ms:.0f} ms"
    seconds = ms / 1000
    if seconds < 60:
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s"


def dollars(amount: str | float | Decimal | None) -> str:
    """US dollars; None is `unpriced`, which is not zero. Small amounts keep three digits that say something."""
    if amount is None:
        return "unpriced"
    value = Decimal(str(amount))
    if value == 0:
        return "$0"
    if abs(value) >= 1_000:
        return f"${value:,.0f}"
    if abs(value) >= Decimal("0.1"):
        return f"${value:.2f}"
    digits = 2 - value.adjusted()
    return f"${value:.{digits}f}".rstrip("0")


def percent(share: float | None) -> str:
    """A share of one: `0%`, `0.42%`, `12.5%`."""
    if share is None:
        return NOTHING
    value = share * 100
    return f"{value:.3g}%" if value < 99.95 else f"{value:.0f}%"


def size(number: float | None) -> str:
    """Bytes in binary units: `97.8 MiB`."""
    if number is None:
        return NOTHING
    value = float(number)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.3g} {unit}"
        value /= 1024
    return f"{value:.3g} TiB"


def parameters(number: float | None) -> str:
    """Weights of a model: `135M`, `7.2B`."""
    return NOTHING if number is None else count(number)


def stamp(moment: datetime | None) -> str:
    """UTC to the second: `2026-11-21 09:15:30`."""
    return NOTHING if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def short(moment: datetime | None) -> str:
    """UTC to the minute: `11-21 09:15`."""
    return NOTHING if moment is None else moment.astimezone(UTC).strftime("%m-%d %H:%M")


def clock(moment: datetime | None) -> str:
    """UTC to the second, without the year: `11-21 09:15:30`."""
    return NOTHING if moment is None else moment.astimezone(UTC).strftime("%m-%d %H:%M:%S")


def rate(value: float) -> str:
    """Three digits that say something: `71.3`."""
    return f"{value:.3g}" if value < 999.5 else f"{value:,.0f}"


def iso(moment: datetime | None) -> str:
    """For `datetime` attributes."""
    return "" if moment is None else moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def field_time(moment: datetime | None) -> str:
    """The value of a `datetime-local` field, in UTC."""
    return "" if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M")


def watt_hours(amount: float) -> str:
    """Energy, in the unit that leaves few digits."""
    for unit, size in (("MWh", 1e6), ("kWh", 1e3), ("Wh", 1.0)):
        if amount >= size:
            return f"{_digits(amount / size, 3)} {unit}"
    return f"{_digits(amount * 1000, 2)} mWh" if amount else "0 Wh"


def grams(amount: float) -> str:
    """A mass, in the unit that leaves few digits."""
    for unit, size in (("t", 1e6), ("kg", 1e3), ("g", 1.0)):
        if amount >= size:
            return f"{_digits(amount / size, 3)} {unit}"
    return f"{_digits(amount * 1000, 2)} mg" if amount else "0 g"


def between(low: float, high: float, told: Callable[[float], str]) -> str:
    """From one amount to another as `told` says them, the unit once where it is the same."""
    first, last = told(low), told(high)
    if first == last:
        return first
    number, _, unit = first.partition(" ")
    return f"{number if last.endswith(f' {unit}') else first} to {last}"


def energy(low: float, high: float) -> str:
    """Watt-hours, of an estimate."""
    return between(low, high, watt_hours)


def mass(low: float, high: float) -> str:
    """Grams, of an estimate."""
    return between(low, high, grams)


def _digits(amount: float, most: int) -> str:
    """So many digits that count, large amounts never as a power of ten."""
    text = f"{amount:.{most}g}"
    return f"{float(text):,.0f}" if "e" in text and amount >= 1 else text


FILTERS = {
    "count": count,
    "watt_hours": watt_hours,
    "grams": grams,
    "energy": energy,
    "mass": mass,
    "millis": millis,
    "dollars": dollars,
    "percent": percent,
    "size": size,
    "parameters": parameters,
    "stamp": stamp,
    "short": short,
    "clock": clock,
    "rate": rate,
    "iso": iso,
    "field_time": field_time,
}
"""What templates call these."""
