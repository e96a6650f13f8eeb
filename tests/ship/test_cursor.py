"""ship.cursor: what shipped.json says is what was delivered, and a wrong one loses nothing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from otel_stageio.settings import Signal
from otel_stageio.ship.cursor import (
    SHIPPED,
    Cursor,
    Delivered,
    NewerFormatError,
    Refused,
    beginning,
    destination,
    load,
    save,
    standing,
)

if TYPE_CHECKING:
    from pathlib import Path

KNOWN = {
    "http://localhost:4318": Delivered(
        {"logs.jsonl": Cursor(10, 99, 3, 1, (Refused("w-5", "HTTP 400"),), "too old")}, {"traces": "HTTP 404"}
    )
}


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    """Cursors come back as they were."""
    save(str(tmp_path), KNOWN)
    assert load(str(tmp_path)) == KNOWN


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '{"destinations": 1}', '{"destinations": {"x": {"logs.jsonl": {"offset": -1}}}}'],
)
def test_a_file_that_cannot_be_understood_is_none(tmp_path: Path, text: str) -> None:
    """Delivery then starts anew: twice is told apart, never is not."""
    (tmp_path / SHIPPED).write_text(text)
    assert load(str(tmp_path)) == {}


def test_a_missing_file_is_none(tmp_path: Path) -> None:
    """Nothing was delivered yet."""
    assert load(str(tmp_path)) == {}


@pytest.mark.parametrize(
    ("signal", "expected"),
    [
        (Signal("http://localhost:4318/v1/logs", host="localhost", port=4318), "http://localhost:4318"),
        (
            Signal("https://me:secret@otel.example/v1/traces?k=abc", host="otel.example", port=443),
            "https://otel.example:443",
        ),
        (Signal("http://[::1]:4318/", host="::1", port=4318), "http://[::1]:4318"),
        (Signal("collector:4317", "grpc", host="collector", port=4317), "grpc://collector:4317"),
        (Signal("unix:///run/otel.sock", "grpc"), "unix:///run/otel.sock"),
        (Signal(), ""),
    ],
)
def test_a_destination_has_no_credentials(signal: Signal, expected: str) -> None:
    """Scheme, host and port are all that is kept of an endpoint."""
    assert destination(signal) == expected


def test_a_file_that_grew_is_the_same(tmp_path: Path) -> None:
    """A cursor that was set while the file was short holds when it is long."""
    path = tmp_path / "logs.jsonl"
    path.write_bytes(b"a" * 10)
    known = Cursor(10, beginning(str(path), 10))
    path.write_bytes(b"a" * 5_000)
    assert standing(str(path), known) == known


@pytest.mark.parametrize("data", [b"b" * 5_000, b"a" * 9, b""])
def test_another_file_starts_anew(tmp_path: Path, data: bytes) -> None:
    """One that begins otherwise, or is shorter than what was delivered of it."""
    path = tmp_path / "logs.jsonl"
    path.write_bytes(b"a" * 10)
    known = Cursor(10, beginning(str(path), 10))
    path.write_bytes(data)
    assert standing(str(path), known) == Cursor()


def test_nothing_secret_is_written(tmp_path: Path) -> None:
    """The file has destinations, names and numbers, and is JSON that a person can read."""
    save(str(tmp_path), KNOWN)
    document = json.loads((tmp_path / SHIPPED).read_bytes())
    of = document["destinations"]["http://localhost:4318"]["files"]["logs.jsonl"]
    assert of["refused"] == [{"record": "w-5", "why": "HTTP 400"}]


def test_a_newer_format_is_left_as_it_is(tmp_path: Path) -> None:
    """What a newer version noted is refused with what to do, and not taken for nothing."""
    text = json.dumps({"format": 99, "destinations": {}})
    (tmp_path / SHIPPED).write_text(text)
    with pytest.raises(NewerFormatError, match="of format 99, and this otel-stageio knows 1: upgrade"):
        load(str(tmp_path))
    assert (tmp_path / SHIPPED).read_text() == text


def test_what_starts_anew_says_why(tmp_path: Path) -> None:
    """A shipped.json of no sense, a cursor past the end and a replaced file are told; a missing one is not."""
    said: list[str] = []
    load(str(tmp_path), said.append)
    (tmp_path / SHIPPED).write_text("{")
    load(str(tmp_path), said.append)
    path = tmp_path / "logs.jsonl"
    path.write_bytes(b"a" * 10)
    known = Cursor(offset=10, beginning=beginning(str(path), 10))
    assert standing(str(path), known, said.append) == known
    path.write_bytes(b"b" * 10)
    standing(str(path), known, said.append)
    path.write_bytes(b"a" * 9)
    standing(str(path), known, said.append)
    assert said == [
        "shipped.json cannot be understood",
        "logs.jsonl is another file than the one that was delivered",
        "logs.jsonl has 9 bytes, and 10 of it were delivered",
    ]


def test_which_signals_were_meant_is_kept(tmp_path: Path) -> None:
    """A signal that was not meant to go to a destination is known not to be."""
    known = {"http://h:1": Delivered(meant=frozenset({"logs"}))}
    save(str(tmp_path), known)
    assert load(str(tmp_path)) == known
