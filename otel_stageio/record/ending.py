"""What is said at the start and the end of an attempt: the header line, the finished event, the progress line."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from otel_stageio import conventions as names
from otel_stageio.record import exceptions
from otel_stageio.record.values import clean_text, plain
from otel_stageio.views import logline

if TYPE_CHECKING:
    from collections.abc import Mapping

    from otel_stageio.model import Value
    from otel_stageio.record.opened import Opened
    from otel_stageio.views.state import StageState

_MEGABYTE = 1_000_000


def header(opened: Opened) -> str:
    """The line that opens an attempt in stage.log."""
    started = opened.recorder.state.started
    at = started.time_unix_nano if started else 0
    about = started.attributes if started else {}
    return logline.header(
        logline.LineClock().text(at),
        time.strftime("%z", time.localtime(at // 1_000_000_000)),
        stage=opened.layout.label,
        number=opened.layout.number,
        attempt=opened.attempt,
        run=opened.run,
        pid=int(str(about.get(names.PROCESS_PID, 0))),
        host=str(about.get(names.HOST_NAME, "")),
    )


def attributes(
    status: str,
    *,
    reason: object,
    raised: BaseException | None,
    error_type: str,
    extra: Mapping[str, Any],
    state: StageState,
) -> dict[str, Value]:
    """The attributes of the finished event.

    A failure without a reason takes the best that is known: the exception, the ``error`` that existing stages pass,
    the last error on record.
    """
    made: dict[str, Value] = {names.STATUS: status}
    said = "" if reason is None else exceptions.said(reason)
    if status == names.FAILED:
        made[names.ERROR_TYPE] = exceptions.type_name(raised) if raised is not None else error_type or "_OTHER"
        said = said or _known_reason(raised, extra, state) or ""
    if said:
        made[names.REASON] = said
    made.update({names.EXTRA_KEY + clean_text(key): plain(of) for key, of in extra.items()})
    return made


def _known_reason(raised: BaseException | None, extra: Mapping[str, Any], state: StageState) -> str | None:
    if raised is not None:
        return exceptions.summary(raised)
    given = exceptions.said(extra.get("error", ""))
    if given and extra["error"] is not None:
        return given
    return str(state.errors[-1]["message"]) if state.errors else None


def progress(done: int, total: int, seconds: float) -> str:
    """How far the checksums are: bytes, rate, time left."""
    rate = done / seconds if seconds > 0 else 0.0
    left = f", about {(total - done) / rate:.0f} s left" if rate > 0 else ""
    return f"checksums: {done / _MEGABYTE:.0f} of {total / _MEGABYTE:.0f} MB, {rate / _MEGABYTE:.0f} MB/s{left}"


def is_fine(raised: BaseException) -> bool:
    """Whether what leaves a block says that all is well: ``sys.exit(0)``, or a generator that its consumer closes."""
    if isinstance(raised, SystemExit):  # what else equals 0 is printed, and exits with 1
        return raised.code is None or (isinstance(raised.code, int) and raised.code == 0)
    return isinstance(raised, GeneratorExit)


def exit_code(raised: SystemExit) -> dict[str, Any]:
    """What ``sys.exit`` says of an end, as arguments: its code; a text is the reason, and exits with 1."""
    code = raised.code
    if isinstance(code, str):
        return {"reason": code, "extra": {"exit_code": 1}}
    return {"reason": f"exit code {plain(code)!s}", "extra": {"exit_code": code}}
