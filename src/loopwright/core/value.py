"""How the values of the road are made: frozen for whoever reads and checks the code, cheap for whoever runs it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

__all__: Final = ["value"]

if TYPE_CHECKING:
    from dataclasses import dataclass as value
else:
    from dataclasses import dataclass

    def value(*, frozen: bool, **options: Any) -> Any:
        """`dataclass`, whose `frozen` the type checker alone enforces.

        A dozen values are made for each request, and the fields of a frozen one take four times as long to set.
        """
        return dataclass(frozen=False, unsafe_hash=frozen, **options)
