"""Tools from what you have: a Python function, or the operations of an OpenAPI document, as OpenAI's tool objects."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, Final, get_args, get_origin, get_type_hints

import msgspec

from loopwright.core.errors import BadRequest
from loopwright.kit.fitting import NotJson, fitted, read
from loopwright.kit.schema import Schema, schema

_METHODS: Final = ("get", "put", "post", "delete", "patch", "head", "options")
_BAD: Final = re.compile(r"[^a-zA-Z0-9-]+")
_COMPONENT: Final = re.compile(r'"#/components/schemas/([^"/]+)["/]')
_ARGUMENT: Final = re.compile(r"^\s{1,8}\*{0,2}(\w+)(?:\s*\([^)]*\))?:\s*(.+)$")
_SECTION: Final = re.compile(
    r"^\s*(Args|Arguments|Parameters|Returns|Raises|Yields|Examples?|Notes?):\s*$", re.MULTILINE
)


class Tool(dict[str, Any]):
    """A tool object as `tools=[…]` takes it, that can also check a model's arguments and run."""

    function: Callable[..., Any] | None
    """What it was made of; None for an operation."""
    operation: Mapping[str, Any]
    """`method`, `path` and where each argument goes (`in`), for an operation of an OpenAPI document."""

    def __init__(
        self,
        name: str,
        description: str,
        parameters: Mapping[str, Any],
        *,
        function: Callable[..., Any] | None = None,
        operation: Mapping[str, Any] | None = None,
    ) -> None:
        """Raises BadRequest when `parameters` is no schema that can be kept."""
        self._schema: Schema = schema(parameters, name)
        super().__init__(
            type="function",
            function={"name": name, "description": description, "parameters": self._schema.document},
        )
        self.function = function
        self.operation = operation or {}

    def arguments(self, given: str | Mapping[str, Any]) -> dict[str, Any]:
        """A model's arguments, coerced where nothing is lost by it.

        Raises:
            BadRequest: they do not fit; names the place.
        """
        try:
            value = read(given or "{}") if isinstance(given, str) else dict(given)
        except NotJson as error:
            raise BadRequest(f"arguments of {self['function']['name']}: {error}", param="arguments") from None
        value = fitted(value, self._schema)
        problems = self._schema.problems(value)
        if problems:
            said = "; ".join(problems)
            raise BadRequest(f"arguments of {self['function']['name']}: {said}", param="arguments")
        found: dict[str, Any] = value
        return found

    def run(self, given: str | Mapping[str, Any]) -> Any:
        """Call the function with a model's arguments.

        Raises:
            BadRequest: they do not fit, or there is no function.
        """
        arguments = self.arguments(given)
        if self.function is None:
            raise BadRequest(f"{self['function']['name']} is an operation: send its request yourself")
        hints = get_type_hints(self.function, include_extras=True)
        typed = {name: _typed(value, hints.get(name, Any)) for name, value in arguments.items()}
        return self.function(**typed)


def tool(function: Callable[..., Any], *, name: str | None = None, description: str | None = None) -> Tool:
    """The tool of a Python function: types from its annotations, words from its docstring (Google's style).

    Raises:
        BadRequest: a parameter has no name a model could fill in, or a type without a JSON form.
    """
    hints = get_type_hints(function, include_extras=True)
    about, words = _read_docstring(inspect.getdoc(function) or "")
    properties: dict[str, Any] = {}
    required: list[str] = []
    extra = False
    for each in inspect.signature(function).parameters.values():
        if each.kind is inspect.Parameter.VAR_KEYWORD:
            extra = True
            continue
        if each.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.POSITIONAL_ONLY):
            raise BadRequest(f"{function.__name__}: parameter {each.name!r} cannot be given by name")
        properties[each.name] = _property(function.__name__, each, hints.get(each.name, Any), words)
        if each.default is inspect.Parameter.empty:
            required.append(each.name)
    parameters = {"type": "object", "properties": properties, "required": required, "additionalProperties": extra}
    return Tool(name or _named(function.__name__), description or about, parameters, function=function)


def tools_from_openapi(document: Mapping[str, Any], *, only: Iterable[str] | None = None) -> list[Tool]:
    """A tool for each operation of an OpenAPI 3 document; `only` names the operations that are wanted.

    Path, query and header parameters are arguments by their names, a JSON body is the argument `body`.

    Raises:
        BadRequest: an operation's schema cannot be used, or one of `only` is not there.
    """
    wanted = None if only is None else set(only)
    found: list[Tool] = []
    for path, item in (document.get("paths") or {}).items():
        for method in _METHODS:
            operation = item.get(method)
            if not isinstance(operation, Mapping):
                continue
            name = _named(str(operation.get("operationId") or f"{method}_{path}"))
            if wanted is None or name in wanted or operation.get("operationId") in wanted:
                found.append(_operation(document, name, method, path, item, operation))
    known = {each["function"]["name"] for each in found}
    missing = {each for each in wanted or () if _named(each) not in known}
    if missing:
        raise BadRequest(f"the document has no operation {', '.join(sorted(missing))}")
    return found


def _operation(
    document: Mapping[str, Any],
    name: str,
    method: str,
    path: str,
    item: Mapping[str, Any],
    operation: Mapping[str, Any],
) -> Tool:
    properties: dict[str, Any] = {}
    required: list[str] = []
    places: dict[str, str] = {}
    for each in (*item.get("parameters", ()), *operation.get("parameters", ())):
        parameter = _at(document, each)
        if parameter.get("in") == "cookie":
            continue
        argument = parameter["name"]
        words = {"description": parameter["description"]} if parameter.get("description") else {}
        properties[argument] = {**_inlined(document, parameter.get("schema") or {}, f"{name}.{argument}"), **words}
        places[argument] = parameter["in"]
        if parameter.get("required") and argument not in required:
            required.append(argument)
    body = _at(document, operation.get("requestBody") or {})
    content = (body.get("content") or {}).get("application/json") or {}
    if content:
        properties["body"] = _inlined(document, content.get("schema") or {}, f"{name}.body")
        places["body"] = "body"
        if body.get("required"):
            required.append("body")
    parameters = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    about = "\n".join(filter(None, (operation.get("summary"), operation.get("description"))))
    return Tool(name, about, parameters, operation={"method": method.upper(), "path": path, "in": places})


def _at(document: Mapping[str, Any], given: Mapping[str, Any]) -> Mapping[str, Any]:
    """A parameter or body, also when it stands among the document's components."""
    target = given.get("$ref")
    if not isinstance(target, str):
        return given
    found: Any = document
    for step in target.removeprefix("#/").split("/"):
        found = found.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(found, Mapping) else None
    if not isinstance(found, Mapping):
        raise BadRequest(f"the document refers to {target!r}, which is not there")
    return found


def _inlined(document: Mapping[str, Any], given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """A schema of the document that stands alone."""
    named = (document.get("components") or {}).get("schemas") or {}
    reached: dict[str, Any] = {}
    open_ends = [given]
    while open_ends:
        for target in _COMPONENT.findall(msgspec.json.encode(open_ends.pop()).decode()):
            if target in named and target not in reached:
                reached[target] = named[target]
                open_ends.append(named[target])
    made = schema({**given, "components": {"schemas": reached}} if reached else given, where).document
    return {word: value for word, value in made.items() if word != "components"}


def _property(owner: str, parameter: inspect.Parameter, hint: Any, words: Mapping[str, str]) -> dict[str, Any]:
    try:
        made = msgspec.json.schema(hint, schema_hook=_foreign)
    except (TypeError, NotImplementedError) as error:
        raise BadRequest(f"{owner}: the type of {parameter.name!r} has no JSON form: {error}") from None
    found = dict(schema(made, f"{owner}.{parameter.name}").document)
    said = words.get(parameter.name) or _note(hint)
    if said:
        found["description"] = said
    if parameter.default is not inspect.Parameter.empty and isinstance(parameter.default, str | int | float | bool):
        found["default"] = parameter.default
    return found


def _foreign(kind: type) -> dict[str, Any]:
    """Pydantic's models know their own schema."""
    own = getattr(kind, "model_json_schema", None)
    if own is None:
        raise NotImplementedError(kind.__name__)
    return schema(own(), kind.__name__).document


def _typed(value: Any, hint: Any) -> Any:
    """A JSON value as the type that a function asks for."""

    def decoded(kind: type, given: Any) -> Any:
        own = getattr(kind, "model_validate", None)
        return given if own is None else own(given)

    return msgspec.convert(value, hint, dec_hook=decoded)


def _note(hint: Any) -> str:
    """The text in `Annotated[int, "how many"]`."""
    if get_origin(hint) is not Annotated:
        return ""
    return next((each for each in get_args(hint)[1:] if isinstance(each, str)), "")


def _read_docstring(text: str) -> tuple[str, dict[str, str]]:
    """What a docstring says of the function, and of each argument."""
    first = _SECTION.search(text)
    about = text[: first.start()].strip() if first else text.strip()
    words: dict[str, str] = {}
    for section in _SECTION.finditer(text):
        if section[1] not in ("Args", "Arguments", "Parameters"):
            continue
        for line in text[section.end() :].strip("\n").splitlines():
            found = _ARGUMENT.match(line)
            if found:
                words[found[1]] = found[2].strip()
            elif line.strip() and not line.startswith(" "):
                break
    return about, words


def _named(name: str) -> str:
    return _BAD.sub("_", name).strip("_")[:64] or "tool"
