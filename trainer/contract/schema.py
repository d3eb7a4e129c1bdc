"""Untrusted JSON or YAML to frozen dataclasses: every problem at once, each with its key and the nearest name."""

import contextlib
import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar, cast

from trainer.contract.errors import nearest

T = TypeVar("T")
_BOUNDS = "bounds"
# Arithmetic with larger whole numbers ends in errors of its own.
_TOO_LARGE = 2**63
_KIND_NAMES: dict[type, str] = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bounds:
    """What numbers a field takes, or each number of its list or mapping. None: no bound on that side."""

    least: float | None = None
    """The smallest number."""
    above: float | None = None
    """Every number is larger than this."""
    most: float | None = None
    """The largest number."""
    below: float | None = None
    """Every number is smaller than this."""

    def hold(self, number: float) -> bool:
        """Whether a number lies within them."""
        return (
            (self.least is None or number >= self.least)
            and (self.above is None or number > self.above)
            and (self.most is None or number <= self.most)
            and (self.below is None or number < self.below)
        )

    def __str__(self) -> str:
        words = {"at least": self.least, "above": self.above, "at most": self.most, "below": self.below}
        return " and ".join(f"{word} {bound:g}" for word, bound in words.items() if bound is not None)


def bounded(default: Any = dataclasses.MISSING, **bounds: float) -> Any:
    """A dataclass field whose numbers have bounds (see `Bounds`), which `bind` checks."""
    return dataclasses.field(default=default, metadata={_BOUNDS: Bounds(**bounds)})


def bind(
    cls: type[T], data: object, problems: list[str], key: str = "", given: Mapping[str, object] | None = None
) -> T | None:
    """Make a `cls` (a dataclass) of `data`. What is wrong is appended to `problems`, one sentence each; then the result
    is None.

    `given` holds values of fields that are not read from `data`.

    Knows str, int (of 64 bits), float (finite, also as text: 2e-5), bool, None, Literal, `tuple[X, ...]`,
    `dict[str, X]`, Any, unions (the first kind that fits) and nested dataclasses. A single value stands for a tuple of
    one. A number outside the bounds of its field (see `bounded`) is a problem, and so is a ValueError from
    `__post_init__`.
    """
    if not isinstance(data, dict):
        problems.append(f"{key or 'the file'}: expected keys and values, found {_shown(data)}")
        return None
    given = given or {}
    fields = {field.name: field for field in dataclasses.fields(cast(Any, cls)) if field.name not in given}
    hints = typing.get_type_hints(cls)
    before = len(problems)
    for name in data:
        if name not in fields:
            hint = nearest(name, fields) or f"known keys: {', '.join(fields)}"
            problems.append(f"{_join(key, name)}: unknown key; {hint}")
    values = {}
    for name, field in fields.items():
        if name in data:
            values[name] = _value(hints[name], data[name], problems, _join(key, name))
            if _BOUNDS in field.metadata:
                _check_bounds(field.metadata[_BOUNDS], values[name], problems, _join(key, name))
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            problems.append(f"{_join(key, name)}: missing")
    if len(problems) > before:
        return None
    try:
        return cls(**values, **given)
    except ValueError as error:
        problems.append(f"{key + ': ' if key else ''}{error}")
        return None


def _check_bounds(bounds: Bounds, value: object, problems: list[str], key: str) -> None:
    if isinstance(value, dict):
        for name, item in value.items():
            _check_bounds(bounds, item, problems, _join(key, name))
    elif isinstance(value, tuple):
        for place, item in enumerate(value):
            _check_bounds(bounds, item, problems, f"{key}[{place}]")
    elif isinstance(value, int | float) and not isinstance(value, bool) and not bounds.hold(value):
        problems.append(f"{key}: expected {bounds}, found {_shown(value)}")


def _value(kind: Any, data: object, problems: list[str], key: str) -> Any:
    origin = typing.get_origin(kind)
    if dataclasses.is_dataclass(kind):
        return bind(cast(type, kind), data, problems, key)
    if origin in (types.UnionType, typing.Union):
        return _union(typing.get_args(kind), data, problems, key)
    if origin is typing.Literal:
        return _literal(typing.get_args(kind), data, problems, key)
    if origin is tuple:
        return _items(typing.get_args(kind)[0], data, problems, key)
    if origin is dict:
        return _mapping(typing.get_args(kind)[1], data, problems, key)
    return _scalar(kind, data, problems, key)


def _union(kinds: tuple[Any, ...], data: object, problems: list[str], key: str) -> Any:
    if data is None and type(None) in kinds:
        return None
    attempts: list[tuple[Any, list[str]]] = []
    for kind in (kind for kind in kinds if kind is not type(None)):
        attempt: list[str] = []
        value = _value(kind, data, attempt, key)
        if not attempt:
            return value
        attempts.append((kind, attempt))
    # What is wrong is told of the kind that was meant: a mapping's own keys, a list's own items, else the first word.
    problems += next((attempt for kind, attempt in attempts if _form(kind) == _form(type(data))), attempts[0][1])
    return None


def _form(kind: Any) -> type:
    """How a kind is written in a file: dict, list, or object for a single value."""
    origin = typing.get_origin(kind) or kind
    if origin is dict or dataclasses.is_dataclass(origin):
        return dict
    return list if origin in (list, tuple) else object


def _literal(choices: tuple[Any, ...], data: object, problems: list[str], key: str) -> Any:
    if data in choices:
        return data
    hint = nearest(data, [str(choice) for choice in choices])
    problems.append(
        f"{key}: expected {' or '.join(map(str, choices))}, found {_shown(data)}{'; ' + hint if hint else ''}"
    )
    return None


def _items(kind: Any, data: object, problems: list[str], key: str) -> tuple[Any, ...]:
    if not isinstance(data, list | tuple):
        return (_value(kind, data, problems, key),)
    return tuple(_value(kind, item, problems, f"{key}[{place}]") for place, item in enumerate(data))


def _mapping(kind: Any, data: object, problems: list[str], key: str) -> Any:
    if not isinstance(data, dict):
        problems.append(f"{key}: expected keys and values, found {_shown(data)}")
        return None
    return {str(name): _value(kind, value, problems, _join(key, name)) for name, value in data.items()}


def _scalar(kind: Any, data: object, problems: list[str], key: str) -> Any:
    if kind is Any or kind is object:
        return data
    if kind is float and isinstance(data, int | float | str) and not isinstance(data, bool):
        # YAML 1.1 reads 2e-5 (no dot) as text; people write it all the time, and it can mean only one thing.
        with contextlib.suppress(ValueError, OverflowError):
            number = float(data)
            if math.isfinite(number):
                return number
    elif type(data) is kind and not (isinstance(data, int) and abs(data) >= _TOO_LARGE):
        return data
    hint = "; put it in quotes" if kind is str and isinstance(data, bool | int | float) else ""
    problems.append(f"{key}: expected {_KIND_NAMES.get(kind, kind)}, found {_shown(data)}{hint}")
    return None


def _shown(data: object) -> str:
    text = "nothing" if data is None else repr(data)
    return text if len(text) <= 60 else text[:57] + "..."


def _join(key: str, name: object) -> str:
    return f"{key}.{name}" if key else str(name)
