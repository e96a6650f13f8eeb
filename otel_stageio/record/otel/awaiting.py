"""Waiting for OpenTelemetry's Logs API: our logger provider is there once the program loads that, and makes room again.

Loading ``opentelemetry._logs`` takes 20 ms, and a stage whose program does without has no use for it. So where it is
not loaded yet, a finder on ``sys.meta_path`` waits for its import, lets the others find it, and is gone after it.

The process takes one provider, by the first ``set_logger_provider``; a second one is refused with a warning. A program
that sets its own after its first stage must not lose that for ours, so ours takes the place without the call (see
`logs.take_place`): theirs then replaces it without a word, and our loggers hand on to it.
"""

from __future__ import annotations

import os
import sys
import threading
import weakref
from typing import TYPE_CHECKING, Any, Final

from otel_stageio.errors import attempt
from otel_stageio.record.otel import context as stages

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

_API: Final = "opentelemetry._logs"
#: The SDK's providers whose records are copied. (A lock that a signal handler may want, too.)
_copied: weakref.WeakSet[Any] = weakref.WeakSet()
_lock = threading.RLock()
#: The process's provider when we last looked.
_seen: Any = None


def _forked() -> None:
    global _lock  # noqa: PLW0603 - a thread of the parent may hold the other one
    _lock = threading.RLock()


os.register_at_fork(after_in_child=_forked)


class _Finder(threading.local):
    """Finds the Logs API as the others find it, and has its import end with our provider in place."""

    looks = False

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find `name`, if it is the Logs API, by the other finders; some of them may ask all others, too."""
        if name != _API or self.looks:
            return None
        self.looks = True
        try:
            for other in list(sys.meta_path):
                find: Any = None if other is self else getattr(other, "find_spec", None)
                found: ModuleSpec | None = find(name, path, target) if find else None
                if found is not None:
                    if hasattr(found.loader, "exec_module"):
                        found.loader = _Loader(found.loader)  # type: ignore[assignment] # stands for one
                    return found
        finally:
            self.looks = False
        return None


class _Loader:
    """Stands before the loader of one module until that is loaded; nobody finds it in the module then."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def exec_module(self, module: ModuleType) -> None:
        """Load the module, then take our place in it."""
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        module.__loader__ = self._loader
        self._loader.exec_module(module)
        attempt(_arrive, _tell)


_finder: Final = _Finder()


def install(*, ours: bool) -> None:
    """Have the records that libraries emit by the Logs API recorded, now or as soon as that is loaded.

    Those of the program's own SDK provider are copied. With `ours`, our provider stands where the program has none.
    """
    if ours:
        waits = _waits()
        if _API in sys.modules and not (waits and _loads()):  # the thread that loads it is about to do what we do
            _arrive()
        elif not waits:
            sys.meta_path.insert(0, _finder)
    look()


def _waits() -> bool:
    return any(each is _finder for each in sys.meta_path)


def _loads() -> bool:
    spec = getattr(sys.modules.get(_API), "__spec__", None)
    return bool(getattr(spec, "_initializing", False))


def _arrive() -> None:
    from otel_stageio.record.otel import logs

    logs.take_place()
    if _waits():
        sys.meta_path.remove(_finder)


def _tell(why: Exception) -> None:
    stage = stages.here()
    if stage is not None:
        stage.recorder.trouble("cannot take in OpenTelemetry's log records", why)


def provider() -> Any:
    """The process's logger provider; None where there is none, or nobody has loaded the Logs API."""
    return getattr(sys.modules.get(f"{_API}._internal"), "_LOGGER_PROVIDER", None)


def look() -> None:
    """Have the records of an SDK's provider copied, if the program has set one meanwhile. Cheap: called often."""
    global _seen  # noqa: PLW0603 - the process has one provider
    found = provider()
    if found is _seen:
        return
    if isinstance(found, getattr(sys.modules.get("opentelemetry.sdk._logs"), "LoggerProvider", ())):
        with _lock:
            known = found in _copied
            _copied.add(found)
        if not known:
            from otel_stageio.record.otel import sdk

            sdk.copy_logs(found)
    _seen = found
