"""Things made by name: ours and those that installed packages bring come through the same door, entry points."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar

from loopwright.core.errors import NotFound, SettingsError, StartError
from loopwright.kit.nearest import hint, nearest

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., object])


class Registry(Generic[T]):
    """What can be made of one kind. A module is imported when something of it is first made, never before."""

    __slots__ = ("_entries", "_factories", "group", "kind")

    def __init__(
        self,
        kind: str,
        *,
        builtin: Mapping[str, str] | None = None,
        installed: Iterable[EntryPoint] | None = None,
    ) -> None:
        """Know the plug-ins of entry point group `loopwright.<kind>`.

        Args:
            kind: a plural noun, `providers`.
            builtin: our own, name to `module:factory`.
            installed: those of other packages; by default, what is installed.
        """
        self.kind = kind
        self.group = f"loopwright.{kind}"
        self._factories: dict[str, Callable[..., T]] = {}
        self._entries: dict[str, list[EntryPoint]] = {}
        ours = [EntryPoint(name=name, value=value, group=self.group) for name, value in (builtin or {}).items()]
        for entry in [*ours, *(entry_points(group=self.group) if installed is None else installed)]:
            # One that is both built in and declared by our own package is one, not two.
            if all(entry.value != known.value for known in self._entries.setdefault(entry.name, [])):
                self._entries[entry.name].append(entry)

    def register(self, name: str) -> Callable[[F], F]:
        """A decorator that adds a factory of this process.

        Raises:
            StartError: the name is taken.
        """

        def add(factory: F) -> F:
            if name in self._factories or name in self._entries:
                raise StartError(f"there are two {self.kind} named {name!r}; give one another name")
            self._factories[name] = factory  # type: ignore[assignment]  # the door is as wide as entry points'
            return factory

        return add

    def names(self) -> list[str]:
        """All names, sorted; also those of plug-ins that turn out to be broken."""
        return sorted({*self._factories, *self._entries})

    def find(self, name: str) -> Callable[..., T]:
        """The factory of `name`, imported now if it has to be.

        Raises:
            NotFound: nothing has this name; the message names the nearest.
            StartError: two packages claim it, or its import fails; the message names the package.
        """
        if name in self._factories:
            return self._factories[name]
        entries = self._entries.get(name, [])
        if not entries:
            raise NotFound(f"there is no {name!r} among the {self.kind}{hint(name, self.names())}")
        if len(entries) > 1:
            claims = " and ".join(_origin(entry) for entry in entries)
            raise StartError(f"{self.kind} {name!r} comes from {claims}; uninstall one of them")
        entry = entries[0]
        try:
            factory = entry.load()
        except Exception as error:
            # The edge to code that is not ours: whatever its import raises, people need to know whose it is.
            raise StartError(
                f"{self.kind} {name!r} ({entry.value}, from {_origin(entry)}) cannot be loaded: "
                f"{type(error).__name__}: {error}; upgrade or uninstall it",
            ) from error
        if not callable(factory):
            raise StartError(
                f"{self.kind} {name!r} ({entry.value}, from {_origin(entry)}) is nothing that can be called"
            )
        self._factories[name] = factory
        return self._factories[name]

    def make(self, name: str, **args: object) -> T:
        """Make one. `{name, args}` is its whole record: the same again makes the same again.

        Raises:
            NotFound, StartError: as `find`.
            SettingsError: it does not take these arguments.
        """
        factory = self.find(name)
        self._check(name, factory, args)
        return factory(**args)

    def _check(self, name: str, factory: Callable[..., T], args: Mapping[str, object]) -> None:
        try:
            signature = inspect.signature(factory)
        except ValueError:
            return  # written in C; it will say so itself
        try:
            signature.bind(**args)
        except TypeError as error:
            known = [key for key, one in signature.parameters.items() if one.kind is not inspect.Parameter.VAR_KEYWORD]
            unknown = [key for key in args if key not in known]
            close = nearest(unknown[0], known) if unknown else None
            meant = f"; did you mean {close!r}?" if close else f"; it takes: {', '.join(known) or 'nothing'}"
            raise SettingsError(f"{self.kind} {name!r}: {error}{meant}") from error


def _origin(entry: EntryPoint) -> str:
    package = entry.dist
    return f"package {package.name} {package.version}" if package is not None else "Loopwright itself"
