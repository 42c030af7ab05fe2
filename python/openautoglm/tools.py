# SPDX-License-Identifier: Apache-2.0
"""Python functions as tools: what a model is told of them comes from their signature and docstring."""
from __future__ import annotations

import asyncio
import dataclasses
import enum
import inspect
import json
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])

_PLAIN: dict[Any, dict[str, Any]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    type(None): {"type": "null"},
    Any: {},
    inspect.Parameter.empty: {},
}


def schema_of(hint: Any) -> dict[str, Any]:
    """The JSON schema of a type hint: plain types, list, tuple[T, ...], dict, Literal, enums, unions, dataclasses,
    Annotated[T, "what it is"], and classes with a model_json_schema() of their own. Raises TypeError for others.
    """
    if hint in (list, Sequence):
        return {"type": "array"}
    if hint in (dict, Mapping):
        return {"type": "object"}
    if isinstance(hint, typing.Hashable) and hint in _PLAIN:
        return dict(_PLAIN[hint])
    if hasattr(hint, "model_json_schema"):
        return hint.model_json_schema()
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return {"enum": [member.value for member in hint]}
    if dataclasses.is_dataclass(hint):
        return _schema_of_dataclass(hint)
    return _schema_of_generic(hint)


def _schema_of_generic(hint: Any) -> dict[str, Any]:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        words = [word for word in inner[1:] if isinstance(word, str)]
        return schema_of(inner[0]) | ({"description": " ".join(words)} if words else {})
    if origin is Literal:
        return {"enum": list(inner)}
    if origin in (typing.Union, types.UnionType):
        return {"anyOf": [schema_of(each) for each in inner]}
    if origin in (list, Sequence) or (origin is tuple and len(inner) == 2 and inner[1] is Ellipsis):
        return {"type": "array", "items": schema_of(inner[0])}
    if origin in (dict, Mapping) and inner[0] is str:
        return {"type": "object", "additionalProperties": schema_of(inner[1])}
    raise TypeError(f"{hint!r} has no JSON schema: annotate with str, int, float, bool, list, dict, Literal, an enum or a dataclass")


def _schema_of_dataclass(hint: Any) -> dict[str, Any]:
    hints = typing.get_type_hints(hint, include_extras=True)
    fields = dataclasses.fields(hint)
    missing = dataclasses.MISSING
    return {
        "type": "object",
        "properties": {field.name: schema_of(hints[field.name]) for field in fields},
        "required": [field.name for field in fields if field.default is missing and field.default_factory is missing],
        "additionalProperties": False,
    }


def _value_of(hint: Any, value: Any) -> Any:
    """What the function expects where JSON has something plainer."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return _value_of(inner[0], value)
    if origin in (list, Sequence):
        return [_value_of(inner[0], each) for each in value]
    if origin is tuple:
        return tuple(_value_of(inner[0], each) for each in value)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return hint(value)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        hints = typing.get_type_hints(hint, include_extras=True)
        return hint(**{name: _value_of(hints[name], each) for name, each in value.items()})
    if hasattr(hint, "model_validate"):
        return hint.model_validate(value)
    return value


class Tool:
    """A function that a model may call. Made by tool(), or by Agent from a plain function."""

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        name: str | None = None,
        description: str | None = None,
        kind: Literal["read", "write", "external"] = "read",
        timeout_seconds: float = 30.0,
        max_concurrency: int = 4,
    ):
        self._function = function
        self._hints = typing.get_type_hints(function, include_extras=True)
        self.name = name or function.__name__
        self.description = description if description is not None else inspect.cleandoc(function.__doc__ or "")
        self.kind = kind
        self.timeout_seconds = timeout_seconds
        self.max_concurrency = max_concurrency
        self.parameters = self._parameters()

    def _parameters(self) -> dict[str, Any]:
        properties: dict[str, Any] = {}
        required: list[str] = []
        for parameter in inspect.signature(self._function).parameters.values():
            if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
                raise TypeError(f"{self.name}: a tool's parameters have names; {parameter} has none")
            try:
                properties[parameter.name] = schema_of(self._hints.get(parameter.name, parameter.empty))
            except TypeError as error:
                raise TypeError(f"{self.name}({parameter.name}): {error}") from None
            if parameter.default is parameter.empty:
                required.append(parameter.name)
        return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}

    @property
    def parameters_json(self) -> str:
        """The schema of its arguments, as text."""
        return json.dumps(self.parameters)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._function(*args, **kwargs)

    def call(self, arguments: str) -> tuple[str, bool]:
        """Runs it with arguments in JSON: what the model is told, and whether that is an error."""
        try:
            given = {name: _value_of(self._hints.get(name), value) for name, value in json.loads(arguments).items()}
            result = self._function(**given)
            if inspect.iscoroutine(result):
                result = asyncio.run(result)
            return (result if isinstance(result, str) else json.dumps(result, default=_plain, ensure_ascii=False)), False
        except Exception as error:  # the model is told, and may go another way
            return f"{type(error).__name__}: {error}", True


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, enum.Enum):
        return value.value
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if hasattr(value, "tolist"):  # numpy
        return value.tolist()
    return str(value)


def tool(function: Function | None = None, **options: Any) -> Any:
    """Says more of a function than its signature does: `@tool(kind="write", timeout_seconds=5)`.

    name, description: instead of the function's name and docstring.
    kind: "read" (the default: calls run side by side, and nobody is asked), "write" (changes something: runs alone,
        after approval) or "external" (reaches other people's systems: as "write").
    timeout_seconds: after it the model is told that the call timed out; the function itself runs on until it returns.
    max_concurrency: calls of it at one time.
    """
    if function is not None:
        return Tool(function, **options)
    return lambda decorated: Tool(decorated, **options)
