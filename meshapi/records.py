"""Records: classes that are their fields, as those of `dataclasses`, without a line of code made for each of them.

In: a class with annotated fields. Out: the same class with slots, made from keywords, compared and hashed by its fields, and frozen. `dataclasses` writes
six functions a class and compiles them; they, `inspect` and what that brings along were 2.5 MB of each sidecar and a fifth of its start. Here all
records share six functions. Refuses a field that is not known or not given (TypeError), a record of records by inheritance, and to be changed.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, TypeVar, dataclass_transform, overload

_T = TypeVar("_T")


class FrozenError(AttributeError):
    """A frozen record was to be changed."""


class _Nothing:
    """No default."""


_NOTHING = _Nothing()


class Field:
    """A field of a record: its name, its default or what makes one, whether it is shown and whether it is given."""

    __slots__ = ("default", "factory", "init", "name", "put", "repr")

    def __init__(self, default: Any, factory: Callable[[], Any] | None, shown: bool, given: bool) -> None:
        self.name = ""
        self.default = default
        self.factory = factory
        self.repr = shown
        self.init = given
        self.put: Callable[[Any, Any], None]
        """Sets it, also where the record is frozen."""


def field(
    *,
    default: Any = _NOTHING,
    default_factory: Callable[[], Any] | None = None,
    repr: bool = True,  # noqa: A002 - as `dataclasses` calls it
    init: bool = True,
) -> Any:
    """Say more of a field than its default: what makes it, that `repr` hides it, that `__post_init__` sets it."""
    return Field(default, default_factory, repr, init)


class _Shape:
    """What the shared functions know of a class of records."""

    __slots__ = ("fields", "given", "named", "post")

    def __init__(self, cls: type, fields: tuple[Field, ...], kw_only: bool) -> None:
        self.fields = fields
        self.named = kw_only
        """Whether fields are given by name alone."""
        self.given = tuple(one for one in fields if one.init)
        self.post: Callable[[Any], None] | None = getattr(cls, "__post_init__", None)


def _init(self: Any, /, *values: Any, **named: Any) -> None:
    shape: _Shape = self.__record__
    if values:
        named = _named(self, shape, values, named)
    for one in shape.given:
        value = named.pop(one.name, one.default)
        if value is _NOTHING:
            if one.factory is None:
                raise TypeError(f"{type(self).__qualname__} lacks {one.name!r}")
            value = one.factory()
        one.put(self, value)
    if named:
        raise TypeError(f"{type(self).__qualname__} has no field {next(iter(named))!r} to give")
    if shape.post is not None:
        shape.post(self)


def _named(self: Any, shape: _Shape, values: tuple[Any, ...], named: dict[str, Any]) -> dict[str, Any]:
    names = [] if shape.named else [one.name for one in shape.given]
    if len(values) > len(names) or not named.keys().isdisjoint(names[: len(values)]):
        raise TypeError(
            f"{type(self).__qualname__} is given at most {len(names)} values without a name, and none twice"
        )
    return dict(zip(names, values, strict=False)) | named


def _equal(self: Any, other: Any) -> Any:
    if type(other) is not type(self):
        return NotImplemented
    values = self.__values__
    return values(self) == values(other)


def _hash(self: Any) -> int:
    return hash(self.__values__(self))


def _repr(self: Any) -> str:
    shown = (f"{one.name}={getattr(self, one.name)!r}" for one in self.__record__.fields if one.repr)
    return f"{type(self).__qualname__}({', '.join(shown)})"


def _refuse(self: Any, name: str, *_: Any) -> None:
    raise FrozenError(f"{type(self).__qualname__} is frozen: {name!r} stays as it is")


def _state(self: Any) -> list[Any]:
    return [getattr(self, one.name) for one in self.__record__.fields]


def _restore(self: Any, state: list[Any]) -> None:
    for one, value in zip(self.__record__.fields, state, strict=True):
        one.put(self, value)


@overload
def record(cls: type[_T], /) -> type[_T]: ...


@overload
def record(*, frozen: bool = True, kw_only: bool = True) -> Callable[[type[_T]], type[_T]]: ...


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
def record(cls: type[_T] | None = None, /, *, frozen: bool = True, kw_only: bool = True) -> Any:
    """Make a class one of records; methods it has stay. A frozen one cannot be changed, one of `kw_only` is made from names alone."""
    return _made(cls, frozen, kw_only) if cls is not None else lambda one: _made(one, frozen, kw_only)


def _made(cls: Any, frozen: bool, kw_only: bool) -> Any:
    if hasattr(cls, "__record__"):
        raise TypeError(f"{cls.__qualname__} inherits from a record; let it have one")
    own = dict(vars(cls))
    fields = tuple(_field(name, own.get(name, _NOTHING)) for name in cls.__annotations__)
    names = tuple(one.name for one in fields)
    for name in (*names, "__dict__", "__weakref__", "__annotations__"):
        own.pop(name, None)
    methods: dict[str, Any] = {
        "__init__": _init,
        "__repr__": _repr,
        "__eq__": _equal,
        "__getstate__": _state,
        "__setstate__": _restore,
    }
    methods |= {"__hash__": _hash, "__setattr__": _refuse, "__delattr__": _refuse} if frozen else {"__hash__": None}
    made = type(cls)(cls.__name__, cls.__bases__, methods | own | {"__slots__": names})
    made.__qualname__ = cls.__qualname__
    for one in fields:
        one.put = vars(made)[one.name].__set__
    made.__record__ = _Shape(made, fields, kw_only)
    # Its values together, or its only one: they compare and hash as the record does.
    made.__values__ = operator.attrgetter(*names or ("__slots__",))
    return made


def _field(name: str, given: Any) -> Field:
    made = given if isinstance(given, Field) else Field(given, None, True, True)
    made.name = name
    return made


def is_record(value: object) -> bool:
    """Tell whether a value is one (a class of them is none)."""
    return hasattr(type(value), "__record__")


def fields(one: Any) -> tuple[Field, ...]:
    """Return the fields of a record or of a class of them, in their order."""
    shape: _Shape = one.__record__
    return shape.fields


def replace(one: _T, /, **changes: Any) -> _T:
    """Make a record like another but for these fields; what its `__post_init__` sets is set anew."""
    shape: _Shape = one.__record__  # type: ignore[attr-defined]
    kept = {each.name: getattr(one, each.name) for each in shape.given}
    return type(one)(**kept | changes)
