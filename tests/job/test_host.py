"""Which host this is."""

from __future__ import annotations

import os

import pytest

from otel_stageio.job import host


def test_name_and_boot():
    """The host has the name that the system gives it, and its boot is always the same."""
    assert host.name() == os.uname().nodename
    assert host.boot_id() == host.boot_id()


@pytest.mark.parametrize(
    ("found", "expected"),
    [("node-7.cluster", "node-7.cluster"), ("a/b\\c\nd\udcff", "a_b_c_d_"), ("höst_1", "höst_1"), ("", "localhost")],
)
def test_name_is_part_of_a_file_name(monkeypatch, found, expected):
    """No host's name leads a log out of its folder, ends a log line, or is empty."""
    system = os.uname()
    monkeypatch.setattr(os, "uname", lambda: type(system)((system[0], found, *system[2:])))
    assert host.name() == expected
