"""Every kind of Python object as a value that OTLP can hold."""

from __future__ import annotations

import argparse
import array
import enum
import json
import math
import types
import uuid
from collections import Counter, OrderedDict, UserDict, UserList, deque, namedtuple
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from pathlib import Path, PurePosixPath
from unittest import mock

import attrs
import numpy as np
import omegaconf
import pandas as pd
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_stageio.errors import StageIOError
from otel_stageio.record.values import clean_text, mapping, plain


class Color(enum.Enum):
    RED = "red"
    PAIR = (1, 2)


class Number(enum.IntEnum):
    ONE = 1


class Text(str, enum.Enum):
    A = "a"


@dataclass
class Inner:
    rate: float = 0.1


@dataclass
class Config:
    name: str
    inner: Inner = field(default_factory=Inner)
    path: Path = Path("a/b")


@dataclass(slots=True)
class Spec:
    shape: tuple[int, ...]
    dtype: str = "float32"


Point = namedtuple("Point", "x y")  # noqa: PYI024 - the untyped kind is the one meant


class Model(pydantic.BaseModel):
    name: str
    inner: Inner
    secret: pydantic.SecretStr = pydantic.SecretStr("password")


class Loud:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


class Shouting:
    def __repr__(self) -> str:
        raise StageIOError("ours, out of foreign code")


class Said:
    def __repr__(self) -> str:
        return "said"


class Odd(str):
    __slots__ = ()

    def __str__(self) -> str:
        return "not what it holds"


SCALARS = [
    (None, None),
    (True, True),
    (0, 0),
    (2**63 - 1, 2**63 - 1),
    (-(2**63), -(2**63)),
    (2**63, "9223372036854775808"),
    (-(2**63) - 1, "-9223372036854775809"),
    (10**5000, hex(10**5000)),
    (1.5, 1.5),
    (-0.0, -0.0),
    (math.nan, "NaN"),
    (math.inf, "Infinity"),
    (-math.inf, "-Infinity"),
    ("text", "text"),
    ("grün 🎙", "grün 🎙"),
    ("a\udc80b", "a\\udc80b"),
    ("\ud83c\udf99", "\\ud83c\\udf99"),
    (b"\x00\xff", b"\x00\xff"),
    (bytearray(b"ab"), b"ab"),
    (memoryview(b"abcd")[::2], b"ac"),
    (3 + 4j, "(3+4j)"),
    (Path("/a/b.wav"), "/a/b.wav"),
    (PurePosixPath("a\udcff"), "a\\udcff"),
    (date(2025, 11, 27), "2025-11-27"),
    (datetime(2025, 11, 27, 13, 30, 1, 123000, timezone.utc), "2025-11-27T13:30:01.123000+00:00"),
    (time(13, 30), "13:30:00"),
    (timedelta(minutes=1, milliseconds=500), 60.5),
    (Decimal("1.10"), "1.10"),
    (Decimal("NaN"), "NaN"),
    (Fraction(1, 3), "1/3"),
    (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    (Color.RED, "red"),
    (Color.PAIR, [1, 2]),
    (Number.ONE, 1),
    (Text.A, "a"),
    (Odd("what it holds"), "what it holds"),
    (ValueError("bad\udc80"), "ValueError: bad\\udc80"),
    (KeyError(), "KeyError"),
    (pydantic.SecretStr("password"), "SecretStr('**********')"),
    (int, "<class 'int'>"),
    (Config, "<class '" + Config.__module__ + ".Config'>"),
    (Said(), "said"),
    (..., "Ellipsis"),
]


@pytest.mark.parametrize(
    ("value", "expected"), SCALARS, ids=[f"{type(value).__name__}-{n}" for n, (value, _) in enumerate(SCALARS)]
)
def test_scalars(value: object, expected: object):
    """One value becomes the plain value that says the same, of exactly a plain type."""
    found = plain(value)
    assert (repr(found), type(found)) == (repr(expected), type(expected))


CONTAINERS = [
    ([1, (2, [3])], [1, [2, [3]]]),
    ({3, 10, 2}, [2, 3, 10]),
    (frozenset({"b", "a", 1}), [1, "a", "b"]),
    (deque([1, 2]), [1, 2]),
    (range(3), [0, 1, 2]),
    (range(10**12), "range(0, 1000000000000)"),
    (array.array("d", [1.0, 2.5]), [1.0, 2.5]),
    (UserList([1, [2]]), [1, [2]]),
    ({"a": 1}.keys(), ["a"]),
    ({"a": 1}.values(), [1]),
    ({"a": {"b": (1,)}}, {"a": {"b": [1]}}),
    (OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
    (Counter("aab"), {"a": 2, "b": 1}),
    (UserDict({"a": {1}}), {"a": [1]}),
    (types.MappingProxyType({"a": 1}), {"a": 1}),
    (Point(1, [2]), {"x": 1, "y": [2]}),
    (argparse.Namespace(lr=0.1, path=Path("a")), {"lr": 0.1, "path": "a"}),
    (types.SimpleNamespace(a=1, b=types.SimpleNamespace(c=2)), {"a": 1, "b": {"c": 2}}),
    (Config("x"), {"name": "x", "inner": {"rate": 0.1}, "path": "a/b"}),
    (Spec((2, 3)), {"shape": [2, 3], "dtype": "float32"}),
    (
        Model(name="m", inner=Inner(0.2), secret=pydantic.SecretStr("password")),
        {"name": "m", "inner": {"rate": 0.2}, "secret": "SecretStr('**********')"},
    ),
]


@pytest.mark.parametrize(("value", "expected"), CONTAINERS, ids=[type(value).__name__ for value, _ in CONTAINERS])
def test_containers(value: object, expected: object):
    """A container of any class becomes a list or a dict of plain values, in its own order where it has one."""
    found = plain(value)
    assert (found, type(found)) == (expected, type(expected))
    assert list(found) == list(expected)


KEYS = [
    (
        {1: "a", None: "b", False: "c", (1, 2): "d", 0.5: "e"},
        {"1": "a", "None": "b", "False": "c", "(1, 2)": "d", "0.5": "e"},
    ),
    ({1: "a", "1": "b"}, {"1": "a", "1 (2)": "b"}),
    ({"1 (2)": "x", 1: "a", "1": "b"}, {"1 (2)": "x", "1": "a", "1 (3)": "b"}),
    ({b"1": 1, "b'1'": 2}, {"b'1'": 1, "b'1' (2)": 2}),
    ({Color.RED: 1, Path("a"): 2, Odd("key"): 3}, {"red": 1, "a": 2, "key": 3}),
    ({"k\udc80": 1}, {"k\\udc80": 1}),
    ({Said(): 1}, {"said": 1}),
]


@pytest.mark.parametrize(("value", "expected"), KEYS)
def test_keys_become_text_and_stay_apart(value: dict, expected: dict):
    """Keys become text, and none of those that are equal as text is lost."""
    assert plain(value) == expected


def test_many_equal_keys_stay_apart():
    """Two thousand keys of one text are all kept, in their order."""
    found = plain({type("Key", (Said,), {})(): number for number in range(2000)})
    assert list(found.values()) == list(range(2000))
    assert list(found)[:3] == ["said", "said (2)", "said (3)"]


def test_iterators_are_not_consumed():
    """A generator given as metadata still has all its elements afterwards."""
    numbers = (number for number in range(3))
    assert plain(numbers).startswith("<generator object")
    assert list(numbers) == [0, 1, 2]


NUMPY = [
    (np.float64(0.1), 0.1),
    (np.float32(0.5), 0.5),
    (np.float64("nan"), "NaN"),
    (np.int64(3), 3),
    (np.uint64(2**64 - 1), str(2**64 - 1)),
    (np.bool_(1), True),
    (np.str_("a"), "a"),
    (np.bytes_(b"a"), b"a"),
    (np.complex128(1 + 2j), "(1+2j)"),
    (np.longdouble(1.5), 1.5),
    (np.longdouble("inf"), "Infinity"),
    (np.clongdouble(1 + 2j), "(1+2j)"),
    (np.datetime64("2025-11-27T13:30:01.123456789"), "2025-11-27T13:30:01.123456789"),
    (np.timedelta64(1500, "ms"), 1.5),
    (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
    (np.array(5), 5),
    (np.array([1.5, math.inf]), [1.5, "Infinity"]),
    (np.array(["2025-11-27"], dtype="M8[ns]"), ["2025-11-27T00:00:00.000000000"]),
    (np.array([1, None, "a"], dtype=object), [1, None, "a"]),
    (np.ma.masked_array([1, 2], [False, True]), [1, None]),
    (np.zeros((100, 101), dtype=np.float32), {"type": "numpy.ndarray", "shape": [100, 101], "dtype": "float32"}),
    (np.dtype("float32"), "dtype('float32')"),
    (pd.Series([1, 2], name="n"), [1, 2]),
    (pd.Series(pd.to_datetime(["2025-11-27"])), ["2025-11-27T00:00:00"]),
    (pd.Index(["a", "b"]), ["a", "b"]),
    (pd.DataFrame({"a": [1, 2], 3: [0.5, None]}), {"a": [1, 2], "3": [0.5, "NaN"]}),
    (pd.Timestamp("2025-11-27T13:30Z"), "2025-11-27T13:30:00+00:00"),
    (pd.Timedelta("90s"), 90.0),
    (pd.NaT, "NaT"),
    (pd.NA, "<NA>"),
]


@pytest.mark.parametrize(
    ("value", "expected"), NUMPY, ids=[f"{type(value).__name__}-{n}" for n, (value, _) in enumerate(NUMPY)]
)
def test_numbers_and_arrays_of_numpy_and_pandas(value: object, expected: object):
    """Scalars and small arrays become Python's values to their full precision, large ones a description."""
    found = plain(value)
    assert (repr(found), type(found)) == (repr(expected), type(expected))


class Tensor:
    """As torch's: shape is a tuple, dtype an object, tolist a method."""

    dtype = "torch.float32"

    def __init__(self, *shape: int) -> None:
        self._shape = shape

    @property
    def shape(self) -> tuple[int, ...]:
        return self._shape

    def tolist(self) -> list[float]:
        return [0.5] * self._shape[0]


class Lazy:
    """As a data set on disk: it can be described, not listed."""

    shape = (3,)
    dtype = "int8"


def test_arrays_are_told_by_their_shape_not_their_library():
    """A tensor of any library is listed while small and described when large; a lazy array is described."""
    name = f"{__name__}.Tensor"
    assert plain(Tensor(2)) == [0.5, 0.5]
    assert plain(Tensor(10_001)) == {"type": name, "shape": [10_001], "dtype": "torch.float32"}
    assert plain(Lazy()) == {"type": f"{__name__}.Lazy", "shape": [3], "dtype": "int8"}


def test_a_mock_is_no_array():
    """An object that answers to every name is its repr, and does not become a config without end."""
    assert plain(mock.Mock(name="m")).startswith("<Mock name='m' id=")
    assert plain(mock.MagicMock(name="m")).startswith("MagicMock/m/")  # it says that it is a path


def test_cycles():
    """A list or an object inside itself is a word, the same list twice beside each other is written twice."""
    loop: list[object] = [1]
    loop.append(loop)
    shared = [2]
    space = types.SimpleNamespace()
    space.own = space
    assert plain(loop) == [1, "<cycle>"]
    assert plain([shared, shared]) == [[2], [2]]
    assert plain(space) == {"own": "<cycle>"}
    assert mapping({"a": loop}) == {"a": [1, "<cycle>"]}


def nested(levels: int, inside: object) -> object:
    """Return `inside` within so many lists."""
    for _ in range(levels):
        inside = [inside]
    return inside


def test_deep_nesting_ends_in_text():
    """24 levels are kept, what is below them is a repr of at most 1,000 characters, also 100,000 levels down."""
    found = plain(nested(30, "x"))
    for _ in range(24):
        (found,) = found
    assert found == "[[[[[...]]]]]"
    assert plain(nested(24, "x")) == nested(24, "x")
    assert len(json.dumps(plain(nested(24, list(range(10_000)))))) < 2000
    assert len(json.dumps(plain(nested(100_000, "x")))) < 2000


def test_a_few_references_do_not_become_gigabytes():
    """Twenty levels of ten references to the next (10^20 values) end after a million, with a word at the cut."""
    value: object = 1
    for _ in range(20):
        value = [value] * 10
    found = json.dumps(plain(value))
    assert len(found) < 20_000_000
    assert "<cut: more than 1000000 values>" in found


class Breaking(dict):
    def items(self) -> object:
        raise OSError("the disk is gone")


class Lying:
    """As a proxy that is not bound to anything."""

    @property
    def __class__(self) -> type:
        raise RuntimeError("working outside of context")

    def __repr__(self) -> str:
        return "lying"


class Wide:
    def keys(self) -> list[str]:
        raise AssertionError("a database would be asked for all its keys")

    def __getitem__(self, key: str) -> str:
        raise AssertionError(key)

    def __repr__(self) -> str:
        return "wide"


UNPRINTABLE = f"<{__name__}.Loud: repr failed with RuntimeError>"
HOSTILE = [
    (Loud(), UNPRINTABLE),
    (Shouting(), f"<{__name__}.Shouting: repr failed with StageIOError>"),
    (Breaking(a=1), "{'a': 1}"),
    (Lying(), "lying"),
    (Wide(), "wide"),
    ({Loud(): [Loud()]}, {UNPRINTABLE: [UNPRINTABLE]}),
    (type("Bad", (), {"__repr__": lambda self: 3})(), f"<{__name__}.Bad: repr failed with TypeError>"),
    (type("Worse", (Path().__class__,), {"__fspath__": lambda self: 3})("a"), "Worse('a')"),
]


@pytest.mark.parametrize(("value", "expected"), HOSTILE, ids=[type(value).__name__ for value, _ in HOSTILE])
def test_what_raises_is_recorded_as_what_it_is(value: object, expected: object):
    """Code of a value that raises costs its details and nothing else."""
    assert plain(value) == expected


def test_an_interrupt_passes():
    """Ctrl-C inside a slow repr reaches the program."""

    class Slow:
        def __repr__(self) -> str:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        plain(Slow())


def test_text_of_bytes_keys_under_strict_bytes(run_script):
    """With `python -bb`, where str(bytes) is an error, keys and values of bytes are recorded all the same."""
    source = """
        import subprocess, sys
        code = "from otel_stageio.record.values import plain; print(plain({b'k': [b'v', bytearray(b'w')]}))"
        print(subprocess.run([sys.executable, "-bb", "-c", code], capture_output=True, text=True, check=True).stdout)
    """
    assert run_script(source).stdout.strip() == "{\"b'k'\": [b'v', b'w']}"


MAPPINGS = [
    ({"a": 1}, {"a": 1}),
    ({}, {}),
    (argparse.Namespace(a=1), {"a": 1}),
    (Config("x"), {"name": "x", "inner": {"rate": 0.1}, "path": "a/b"}),
    (Point(1, 2), {"x": 1, "y": 2}),
    (pd.DataFrame({"a": [1]}), {"a": [1]}),
    (None, {"value": None}),
    ([("a", 1)], {"value": [["a", 1]]}),
    ("text", {"value": "text"}),
    (np.zeros(3), {"value": [0.0, 0.0, 0.0]}),
    (np.zeros(10_001), {"value": {"type": "numpy.ndarray", "shape": [10_001], "dtype": "float64"}}),
    (Said(), {"value": "said"}),
    (Config, {"value": f"<class '{__name__}.Config'>"}),
    (Breaking(a=1), {"value": "{'a': 1}"}),
]


@pytest.mark.parametrize(("value", "expected"), MAPPINGS, ids=[type(value).__name__ for value, _ in MAPPINGS])
def test_mapping(value: object, expected: dict):
    """Whatever has names becomes a dict, anything else the one value of a dict."""
    assert mapping(value) == expected


def test_mapping_of_a_config_class_of_ones_own():
    """An object whose repr would be its address is recorded by its attributes."""

    class Settings:
        def __init__(self) -> None:
            self.lr = 0.1
            self.layers = (1, 2)

    assert mapping(Settings()) == {"lr": 0.1, "layers": [1, 2]}


def test_attrs_classes():
    """An attrs class is told by its fields, slots and unset ones included."""
    found = attrs.make_class("Found", {"a": attrs.field(), "b": attrs.field(default=2, init=False)})(a=1)
    assert plain(found) == {"a": 1, "b": 2}
    del found.b
    assert plain(found) == {"a": 1}


def test_omegaconf_interpolations():
    """A config of OmegaConf is resolved, one that cannot be resolved is recorded as it is written."""
    good = omegaconf.OmegaConf.create({"a": 1, "b": "${a}", "c": [1, {"d": "${a}"}], "e": "???"})
    bad = omegaconf.OmegaConf.create({"a": "${gone}", "b": ["${gone}"]})
    assert plain(good) == {"a": 1, "b": 1, "c": [1, {"d": 1}], "e": "???"}
    assert mapping(bad) == {"a": "${gone}", "b": ["${gone}"]}
    assert plain(good.c) == [1, {"d": 1}]


def test_pydantic_one():
    """A model of pydantic 1 is told by its fields."""
    from pydantic import v1

    class Old(v1.BaseModel):
        a: int

    assert plain(Old(a=1)) == {"a": 1}


def test_clean_text():
    """Only lone surrogates change; the text comes back itself where there is none."""
    text = "grün"
    assert clean_text(text) is text
    assert clean_text("\udcff.wav") == "\\udcff.wav"


def test_nothing_is_imported_to_tell_a_value(run_script):
    """Telling values apart loads neither numpy, nor datetime, decimal, pathlib or omegaconf."""
    source = """
        import sys
        before = set(sys.modules)
        from otel_stageio.record.values import plain
        plain([object(), {"a": {1}}, range(3)])
        new = set(sys.modules) - before
        print(sorted(new & {"numpy", "datetime", "decimal", "pathlib", "omegaconf", "argparse", "uuid"}))
    """
    assert run_script(source).stdout.strip() == "[]"


def _exact(value: object) -> bool:
    if type(value) is list:
        return all(_exact(item) for item in value)
    if type(value) is dict:
        return all(type(key) is str and _encodable(key) and _exact(item) for key, item in value.items())
    if type(value) is str:
        return _encodable(value)
    if type(value) is int:
        return -(2**63) <= value < 2**63
    return value is None or type(value) in (bool, bytes) or (type(value) is float and math.isfinite(value))


def _encodable(text: str) -> bool:
    return text == text.encode("utf-8", "replace").decode()


ANY_TEXT = st.text(st.characters(exclude_categories=()))
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.complex_numbers(),
    st.decimals(),
    st.datetimes(),
    st.timedeltas(),
    st.binary(),
    ANY_TEXT,
    st.builds(Said),
    st.sampled_from([Color.RED, Number.ONE, np.float32(0.1), np.array([1, 2]), ValueError("x"), int]),
)
ANYTHING = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.one_of(ANY_TEXT, st.integers(), st.none(), st.binary()), inner, max_size=4)
        | st.tuples(inner, inner)
    ),
    max_leaves=20,
)


@settings(max_examples=200, deadline=None)
@given(ANYTHING)
def test_everything_becomes_exactly_plain(value: object):
    """Any mixture of objects becomes values of exactly the plain types, and what is plain stays as it is."""
    found = plain(value)
    assert _exact(found)
    assert plain(found) == found
