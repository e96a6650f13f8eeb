"""ship.cursor: what shipped.json says is what was delivered, and a wrong one loses nothing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from otel_stageio.errors import SettingError
from otel_stageio.ship.cursor import SHIPPED, Cursor, Refused, beginning, destination, load, save, standing

if TYPE_CHECKING:
    from pathlib import Path

KNOWN = {"http://localhost:4318": {"logs.jsonl": Cursor(10, 99, 3, 1, (Refused(5, "HTTP 400"),))}}


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
    ("endpoint", "expected"),
    [
        ("http://localhost:4318", "http://localhost:4318"),
        ("https://me:secret@Otel.example/v1/traces?key=abc", "https://otel.example:443"),
        ("http://[::1]:4318/", "http://[::1]:4318"),
        ("grpc://collector:4317", "grpc://collector:4317"),
    ],
)
def test_a_destination_has_no_credentials(endpoint: str, expected: str) -> None:
    """Scheme, host and port are all that is kept of an endpoint."""
    assert destination(endpoint) == expected


@pytest.mark.parametrize(
    "endpoint", ["", "localhost:4318", "me:secret@localhost", "http://", "http://x:port", "http://[::1"]
)
def test_an_endpoint_that_is_no_url_is_told(endpoint: str) -> None:
    """The message shows what was given, without what is before an @, and what a right one looks like."""
    with pytest.raises(SettingError, match=r"is no URL; give one such as") as told:
        destination(endpoint)
    assert "secret" not in str(told.value)


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
    assert document["destinations"]["http://localhost:4318"]["logs.jsonl"]["refused"] == [{"end": 5, "why": "HTTP 400"}]
