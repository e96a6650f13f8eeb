"""Whether a live fold may differ from its journal."""

from __future__ import annotations

import threading

import pytest

from otel_stageio.record.drift import Drift


@pytest.fixture
def paths(tmp_path):
    """Two files of a journal, the second not there yet."""
    (tmp_path / "a").write_bytes(b"before\n")
    return tmp_path / "a", tmp_path / "b"


@pytest.fixture
def drift(paths):
    """Watch them."""
    return Drift(*map(str, paths))


def append(path, data: bytes) -> None:
    """Append to a file."""
    with path.open("ab") as file:
        file.write(data)


def test_nobody_else_can_have_written(drift, paths):
    """Without a fork there is nothing to be looked for."""
    append(paths[0], b"ours")
    assert not drift.happened()


@pytest.mark.parametrize("place", [0, 1])
def test_somebody_else_wrote(drift, paths, place):
    """After a fork, bytes that are not this process's own are somebody else's, in whichever file."""
    drift.written = 7
    drift.forking(threading.RLock())
    assert not drift.happened()
    append(paths[0], b"ours\n")
    drift.written += 5
    drift.forking(threading.RLock())
    assert not drift.happened()
    append(paths[place], b"theirs\n")
    assert drift.happened()


def test_interrupted(drift):
    """A record that was interrupted is enough."""
    drift.stale = True
    assert drift.happened()


def test_a_record_that_takes_long(drift, monkeypatch):
    """Where a thread writes for as long as the fork may wait, the journal is read again in any case."""
    monkeypatch.setattr("otel_stageio.record.drift._PATIENCE", 0.01)
    lock = threading.RLock()
    taken, go_on = threading.Event(), threading.Event()

    def write() -> None:
        with lock:
            taken.set()
            go_on.wait(10)

    thread = threading.Thread(target=write)
    thread.start()
    taken.wait(10)
    drift.forking(lock)
    go_on.set()
    thread.join()
    assert drift.happened()
