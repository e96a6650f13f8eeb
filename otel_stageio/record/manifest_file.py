"""manifest.json while the stage runs and at its end: the fold of the moment, written whole or not at all."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING

from otel_stageio.errors import guard
from otel_stageio.record.processes import exits
from otel_stageio.views import manifest

if TYPE_CHECKING:
    from otel_stageio.record.recorder import Recorder


class ManifestFile:
    """Writes the manifest of what `recorder` recorded. All methods may be called from any thread, and none raises."""

    def __init__(self, recorder: Recorder) -> None:
        """Write nothing yet."""
        self._recorder = recorder
        self._lock = threading.RLock()

    def size(self) -> int:
        """How many entries the manifest has by now, of those that may become many."""
        state = self._recorder.state
        return sum(map(len, state.artifacts.values())) + len(state.warnings) + len(state.errors)

    def dump(self) -> bytes:
        """The manifest of this moment as the bytes of its file."""
        recorder = self._recorder
        with recorder.lock:
            document = manifest.snapshot(recorder.state, degraded=recorder.degraded)
        return manifest.dump(document)  # without the lock: nobody waits for the text of a long one

    def rewrite(self, *, sync: bool = False) -> None:
        """Bring manifest.json up to date, if there is one and this process may write it."""
        recorder = self._recorder
        if recorder.places and recorder.owned:
            with exits.undisturbed(), self._lock, guard(partial(recorder.trouble, "cannot write the manifest")):
                if recorder.finished:  # a member that saw no end yet leaves what it recorded to us
                    recorder.settle()
                recorder.places.write_manifest(self.dump, sync=sync)

    def remove(self) -> None:
        """Leave no manifest.json: the one that said running while the stage ran would say so for ever."""
        recorder = self._recorder
        if recorder.places and recorder.owned:
            with exits.undisturbed(), self._lock, guard(partial(recorder.trouble, "cannot remove the manifest")):
                recorder.places.remove_manifest()

    def forked(self) -> None:
        """Have a lock that no thread of the parent holds."""
        self._lock = threading.RLock()
