"""Any Python object as a value that OTLP can hold: what metadata, config, metrics and log arguments become.

`plain` and `mapping` never raise and never hand on an object of somebody else: what comes back is made of the exact
types of `model.Value`, so that the encoder needs no checks of its own. Foreign code (a repr, a model_dump, a mapping's
items) runs inside `_attempt`; where it fails, the value's repr stands in, and where that fails too, its type.
"""

from __future__ import annotations

import enum
import math
import os
import reprlib
import sys
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence, ValuesView
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any, TypeVar, cast

from otel_stageio.errors import StageIOError, guard

if TYPE_CHECKING:
    from otel_stageio.model import Value

_T = TypeVar("_T")
_Pairs = Iterable[tuple[object, object]]

_INT_MIN, _INT_MAX = -(2**63), 2**63 - 1
#: Containers within containers; a journal line that is nested deeper is refused by common JSON and protobuf readers.
_DEPTH = 24
_DEEP_TEXT = 1_000
#: Values in one result. Far more than a journal line can hold; keeps a few nested references from becoming gigabytes.
_BUDGET = 1_000_000
_CUT = "<cut: more than 1000000 values>"
#: Arrays, ranges and foreign sequences up to this many elements are written out, larger ones described.
_ARRAY_LIMIT = 10_000


def plain(value: object) -> Value:
    """Return `value` in OTLP's value space: None, bool, int, float, str, bytes, list or dict with text keys.

    Kept as they are: None, bool, int within 64 bit, finite float, text, bytes. Otherwise:

    - larger ints, Decimal, Fraction, UUID, complex: their text; NaN and infinities "NaN", "Infinity", "-Infinity"
    - lone surrogates in text (file names that are not UTF-8): escaped, see `clean_text`; paths: their text
    - datetime, date, time: ISO 8601; timedelta: seconds as float; Enum: its value; exceptions: "Type: message"
    - mappings, dataclasses, named tuples, Namespace, SimpleNamespace, attrs, pydantic, OmegaConf: a dict; keys that
      become equal as text are kept apart: "1", "1 (2)"
    - list, tuple, set, deque, range and their like: a list; sets in sorted order; iterators are not consumed (repr)
    - numpy scalars, arrays, tensors and Series of up to 10,000 elements: their Python values, larger ones a dict with
      type, shape, dtype
    - anything else: its repr

    A container inside itself is "<cycle>"; containers nested deeper than 24 are a shortened repr. Never raises (other
    than KeyboardInterrupt and its like). Thread-safe; a container that another thread changes is taken as it was at
    one moment.
    """
    if type(value) is str:
        return value if value.isascii() else clean_text(value)
    if type(value) is int:
        return value if _INT_MIN <= value <= _INT_MAX else _large(value)
    if type(value) is float:
        return value if math.isfinite(value) else _not_finite(value)
    if value is None or type(value) is bool or type(value) is bytes:
        return value
    return _Walk().of(value)


def mapping(value: object) -> dict[str, Value]:
    """Return a mapping-like `value` as a dict with text keys, anything else as {"value": plain(value)}.

    Mapping-like is all that `plain` makes a dict of because it has names, and besides an object without a repr of its
    own that has attributes (a hand-written config class). Never raises.
    """

    def named() -> dict[str, Value] | None:
        pairs = _pairs(_stands_for(value))
        if pairs is None and type(value).__repr__ is object.__repr__ and getattr(value, "__dict__", None):
            pairs = vars(value).items()
        return None if pairs is None else _Walk().inside(value, pairs)

    found = _attempt(named, lambda _: None)
    return {"value": plain(value)} if found is None else found


def clean_text(text: str) -> str:
    r"""Return `text` with lone surrogates, which no UTF-8 can hold, written as ``\udc80``; other text as it is."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace").decode()
    return text


def _attempt(work: Callable[[], _T], instead: Callable[[BaseException], _T]) -> _T:
    """Return work(), or instead(what it raised): the foreign code of a value must not break the caller's."""
    raised: list[BaseException] = []
    try:
        with guard(raised.append):
            return work()
    except StageIOError as error:  # guard lets it pass; out of a value's code it is a failure like others
        raised.append(error)
    return instead(raised[0])


def _repr(value: object) -> str:
    return _attempt(lambda: clean_text(repr(value)), lambda failure: _unprintable(value, failure))


def _unprintable(value: object, failure: BaseException) -> str:
    cls = type(value)
    return clean_text(f"<{cls.__module__}.{cls.__qualname__}: repr failed with {type(failure).__name__}>")


class _Walk:
    """One conversion: the containers that are open on the way down, and how many values may still come."""

    __slots__ = ("_left", "_open")

    def __init__(self) -> None:
        self._open: set[int] = set()
        self._left = _BUDGET

    def of(self, value: object) -> Value:
        # As in `plain`: the order is the speed.
        if type(value) is str:
            return value if value.isascii() else clean_text(value)
        if type(value) is int:
            return value if _INT_MIN <= value <= _INT_MAX else _large(value)
        if type(value) is float:
            return value if math.isfinite(value) else _not_finite(value)
        if value is None or type(value) is bool or type(value) is bytes:
            return value
        if id(value) in self._open:
            return "<cycle>"
        if len(self._open) >= _DEPTH:
            return _shortened(value)
        self._open.add(id(value))
        try:
            if type(value) is dict:
                return self._dict(list(value.items()))
            if type(value) is list or type(value) is tuple:
                return self._list(value)
            return _attempt(lambda: self._other(value), lambda _: _repr(value))
        finally:
            self._open.discard(id(value))

    def inside(self, owner: object, pairs: _Pairs) -> dict[str, Value]:
        """Return the names and values of `owner`, which counts as open meanwhile."""
        self._open.add(id(owner))
        return self._dict(pairs)

    def _dict(self, pairs: _Pairs) -> dict[str, Value]:
        result: dict[str, Value] = {}
        repeats: dict[str, int] = {}
        for key, value in pairs:
            if self._left <= 0:
                result["..."] = _CUT
                break
            self._left -= 1
            name = key if type(key) is str and key.isascii() else _key(key)
            if name in result:
                count = repeats.get(name, 1)
                while (apart := f"{name} ({(count := count + 1)})") in result:
                    pass
                repeats[name] = count
                name = apart
            result[name] = self.of(value)
        return result

    def _list(self, items: Iterable[object]) -> list[Value]:
        result: list[Value] = []
        for item in items:
            if self._left <= 0:
                result.append(_CUT)
                break
            self._left -= 1
            result.append(self.of(item))
        return result

    def _other(self, value: object) -> Value:
        """Everything that is not exactly a plain type or container; whatever foreign code raises comes out."""
        if not isinstance(value, enum.Enum):
            for kinds, exact in _SUBCLASSED:
                if isinstance(value, kinds):
                    return exact(value)
        if (other := _stands_for(value)) is not value:
            return self.of(other)
        if (pairs := _pairs(value)) is not None:
            return self._dict(pairs)
        if isinstance(value, AbstractSet):
            return sorted(self._list(list(value)), key=_set_order)
        if hasattr(type(value), "shape") and hasattr(type(value), "dtype"):
            return self._array(value)
        return self._list(list(cast("Iterable[object]", value))) if _is_listable(value) else _repr(value)

    def _array(self, value: Any) -> Value:
        shape = tuple(value.shape)
        kind = getattr(value.dtype, "kind", "")
        to_list = getattr(value, "tolist", None) or getattr(value, "to_list", None)
        if to_list is None or math.prod(shape) > _ARRAY_LIMIT:
            cls = type(value)
            described = {"type": f"{cls.__module__}.{cls.__qualname__}", "shape": shape, "dtype": str(value.dtype)}
            return self._dict(described.items())
        if kind == "M" and hasattr(value, "astype") and type(value).__module__.startswith("numpy"):
            # numpy's own list has bare integers for nanoseconds; its text is ISO 8601 at every resolution.
            return self.of(value.astype(str).tolist())
        if kind == "m" and hasattr(value, "astype") and type(value).__module__.startswith("numpy"):
            to_list = value.astype("m8[us]").tolist
        found = to_list()
        # numpy's extended floats have no Python value: their list is themselves.
        return _repr_number(found) if type(found) is type(value) else self.of(found)


def _exact_int(value: int) -> Value:
    whole = int.__int__(value)
    return whole if _INT_MIN <= whole <= _INT_MAX else _large(whole)


def _exact_float(value: float) -> Value:
    number = float.__float__(value)
    return number if math.isfinite(number) else _not_finite(number)


def _exception(value: BaseException) -> Value:
    message, name = str(value), type(value).__qualname__
    return clean_text(f"{name}: {message}" if message else name)


#: Plain types as other classes inherit them (numpy.float64 is a float), and what is text or bytes by nature.
_SUBCLASSED: tuple[tuple[type | tuple[type, ...], Callable[[Any], Value]], ...] = (
    (type, _repr),
    (str, lambda value: clean_text(str.__str__(value))),
    (int, _exact_int),
    (float, _exact_float),
    (memoryview, memoryview.tobytes),
    ((bytes, bytearray), lambda value: bytes(memoryview(value))),
    (BaseException, _exception),
    (complex, str),
    (os.PathLike, lambda value: clean_text(os.fsdecode(value))),
)

#: Classes of the standard library that are told by name, so that nothing is imported to tell them.
_BY_NAME: dict[str, Callable[[Any], object]] = {
    "argparse.Namespace": vars,
    "types.SimpleNamespace": vars,
    "datetime.date": lambda value: value.isoformat(),
    "datetime.time": lambda value: value.isoformat(),
    "datetime.timedelta": lambda value: value.total_seconds(),
    "decimal.Decimal": str,
    "fractions.Fraction": str,
    "uuid.UUID": str,
}


def _stands_for(value: object) -> object:
    """Return the simpler object that an object is a dress of, else `value` itself. Foreign code may raise."""
    if isinstance(value, enum.Enum):
        return value.value
    cls = type(value)
    for base in cls.__mro__:
        if (simpler := _BY_NAME.get(f"{base.__module__}.{base.__qualname__}")) is not None:
            return simpler(value)
    if (omegaconf := sys.modules.get("omegaconf")) is not None and omegaconf.OmegaConf.is_config(value):
        return _attempt(
            lambda: omegaconf.OmegaConf.to_container(value, resolve=True),
            lambda _: omegaconf.OmegaConf.to_container(value, resolve=False),
        )
    if hasattr(cls, "model_dump"):  # pydantic 2
        return cast("Any", value).model_dump()
    if hasattr(cls, "__fields__") and hasattr(cls, "dict"):  # pydantic 1
        return cast("Any", value).dict()
    return value


def _pairs(value: object) -> _Pairs | None:
    """Return the names and values of an object that has such; None for any other. Foreign code may raise."""
    if isinstance(value, Mapping):
        return list(value.items())
    cls = type(value)
    names: Iterable[str] | None = None
    if hasattr(cls, "__dataclass_fields__"):
        import dataclasses

        names = [field.name for field in dataclasses.fields(cast("Any", value))]
    elif hasattr(cls, "__attrs_attrs__"):
        names = [field.name for field in cls.__attrs_attrs__]
    elif isinstance(value, tuple):
        names = getattr(cls, "_fields", None)
    elif not hasattr(cls, "dtype") and all(hasattr(cls, name) for name in _MAPPING_METHODS):
        return list(cast("Any", value).items())
    return None if names is None else [(name, getattr(value, name)) for name in names if hasattr(value, name)]


#: What makes a mapping of a class that is not registered as one. All four: a database client may well have `keys`.
_MAPPING_METHODS = ("keys", "items", "__getitem__", "__len__")


def _is_listable(value: Any) -> bool:
    """Tell whether the elements can be listed, using no iterator up, and are not too many for a foreign class."""
    if isinstance(value, (list, tuple, deque, ValuesView)):
        return True
    return (isinstance(value, Sequence) or hasattr(type(value), "tolist")) and len(value) <= _ARRAY_LIMIT


def _key(key: object) -> str:
    """Return the text of a mapping's key: its str, for an Enum that of its value."""
    if isinstance(key, enum.Enum):
        key = key.value
    if isinstance(key, str):
        return clean_text(str.__str__(key))
    if isinstance(key, bytes):  # whose str is the same text, but an error under `python -bb`
        return _repr(key)
    return _attempt(lambda: clean_text(str(key)), lambda _: _repr(key))


def _set_order(value: Value) -> tuple[bool, float, str]:
    """Numbers by value before all else by repr: an order that does not depend on hashes."""
    if isinstance(value, (bool, int, float)):
        return (False, value, "")
    return (True, 0.0, repr(value))


def _large(value: int) -> str:
    try:
        return str(value)
    except ValueError:  # Python refuses the decimal text of thousands of digits
        return hex(value)


def _not_finite(value: float) -> str:
    return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"  # noqa: PLR0124 - the test for NaN


def _repr_number(value: Any) -> Value:
    return _attempt(lambda: plain(float(str(value))), lambda _: str(value))


def _shortened(value: object) -> str:
    """Return the repr of what is nested too deep: bounded work first, then 1,000 characters at most."""
    short = reprlib.Repr()
    short.maxlevel = 4
    short.maxstring = short.maxother = _DEEP_TEXT
    short.maxdict = short.maxlist = short.maxtuple = short.maxset = short.maxfrozenset = short.maxdeque = 10
    text = _attempt(lambda: clean_text(short.repr(value)), lambda failure: _unprintable(value, failure))
    return text if len(text) <= _DEEP_TEXT else text[: _DEEP_TEXT - 3] + "..."
