"""A pipeline that `stageio run` runs: the run's span with the times that it really took, written when it ends.

While it runs, ``.stageio/pipelines/<span id>`` is there: a lock that falls with the process, and in it all that the
span will say. Where the process died, whoever comes next finds the file without a holder and writes the span. The file
is there before the run is, and goes after the span is written: no moment of dying leaves a run without span.
"""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING, Any, Final

from otel_stageio import conventions as names
from otel_stageio.job import host as hosts
from otel_stageio.job import links, locks, passes, runs, status
from otel_stageio.job.identity import SCOPE
from otel_stageio.job.layout import TRACES
from otel_stageio.journal import appending, encode, files, limits, reader
from otel_stageio.model import FLAGS_LOCAL, FLAGS_REMOTE, Resource, Span
from otel_stageio.views.moments import rfc3339

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from otel_stageio.job.layout import JobLayout
    from otel_stageio.job.runs import Ids, Run
    from otel_stageio.model import Value

_ERROR: Final = 2


class Pipeline:
    """A `stageio run` under way, from `begin` to `end`."""

    def __init__(self, job: JobLayout, run: Run, about: Mapping[str, Any], lock: locks.StageLock) -> None:
        """Take over the lock that says so, with what the span will say."""
        self.job = job
        self.run = run
        self._about = dict(about)
        self._lock = lock

    @property
    def traceparent(self) -> str:
        """Its span as W3C's header has it: what its children hang on."""
        return f"00-{self._about['trace_id']}-{self._about['span_id']}-{self.run.trace_flags:02x}"

    @property
    def trace_state(self) -> str:
        """The state of its trace, "" for none."""
        return str(self._about["trace_state"])

    def touch(self) -> None:
        """Show a sign of life: where this process dies, the span ends at the last one. Raises OSError."""
        self._lock.touch()

    def end(self, attributes: Mapping[str, Value]) -> None:
        """Write the span, with how the command ended. Raises OSError; whoever comes next writes it then."""
        at = max(time.time_ns(), self._about["began"] + 1000)
        _write(self.job, self.run, _span(self._about, self.run, at, attributes), self._about)
        files.remove(_path(self.job, self._about["span_id"]))
        self._lock.release()


def begin(
    job: JobLayout,
    *,
    name: str | None,
    parent: Ids | None,
    resource: Callable[[int], Resource],
    attributes: Mapping[str, Value],
) -> Pipeline:
    """Begin a run of that `name`, in the trace of the span `parent` where there is one; the span gets `attributes`.

    Where that run, or a run of that trace, is there already, the pipeline goes on in it: its span is then one below
    the `parent`, else below the run's. Raises OSError.
    """
    while True:
        known = _joined(job, name, parent)
        around = parent if parent is not None else runs.Ids(*_where(known)) if known is not None else None
        ids = runs.new_ids()
        if around is not None:
            ids = around._replace(span_id=ids.span_id, by_host=False)
        host, about = hosts.name(), resource(known.run if known else 0)
        told = {
            "trace_id": ids.trace_id,
            "span_id": ids.span_id,
            "parent_span_id": around.span_id if around is not None else "",
            "trace_state": ids.trace_state,
            "name": name or str(about.attributes[names.SERVICE_NAME]),
            "began": time.time_ns(),
            "pid": os.getpid(),
            "host": host,
            "boot_id": hosts.boot_id(),
            "attributes": dict(attributes),
            "resource": dict(about.attributes),
        }
        links.refuse(job.root, job.inner, job.runs_dir, job.pipelines_dir)
        files.make_folders(str(job.pipelines_dir))
        lock = locks.StageLock.acquire(_path(job, ids.span_id), told)
        if isinstance(lock, locks.Held):  # the span's id is 64 random bits
            raise FileExistsError(f"{_path(job, ids.span_id)} is held by another process")
        run = runs.join(job, name=name, done=lambda _: True, host=host, resource=resource, incoming=parent, owned=ids)
        if run.span_id == ids.span_id or known is not None:
            return Pipeline(job, run, told, lock)
        # Somebody began that very run in between.
        files.remove(_path(job, ids.span_id))
        lock.release()


def _joined(job: JobLayout, name: str | None, parent: Ids | None) -> Run | None:
    if name is not None:
        return runs.newest(job, lambda run: name in (run.name, run.trace_id))
    if parent is not None:
        return runs.newest(job, lambda run: run.trace_id == parent.trace_id)
    return None


def _where(run: Run) -> tuple[str, str, int, str]:
    return run.trace_id, run.span_id, run.trace_flags, run.trace_state


def write_ends(job: JobLayout) -> int:
    """Write the spans of pipelines whose processes died, as far as that is proved; gives how many. Raises OSError.

    Those of other hosts are left alone, of which nobody here can know.
    """
    try:
        found = os.listdir(job.pipelines_dir)
    except FileNotFoundError:
        return 0
    links.avoid(job.root, job.inner, job.pipelines_dir)
    return sum(_write_end(job, span_id) for span_id in found)


def _write_end(job: JobLayout, span_id: str) -> bool:
    path = _path(job, span_id)
    about = passes.read_about(path)
    if about is None or about["span_id"] != span_id or about["host"] != hosts.name():
        return False
    with contextlib.suppress(OSError), locks.job_lock(path, 0) as alone:
        # The lock is nobody's; or it is from before the host was started, whatever the locks of the file system are.
        if not alone and about["boot_id"] in ("", hosts.boot_id()):
            return False
        if passes.read_about(path) is None:  # somebody was faster: what is here now is a file that this lock has made
            files.remove(path)
            return False
        at = max(status.last_sign(path), about["began"] + 1000)
        why = f"the process ended without a word; last sign of it at {rfc3339(at)}"
        ended = {names.STATUS: names.ABANDONED, names.REASON: why, names.ERROR_TYPE: names.ABANDONED}
        run = passes.run_of(job, about)
        if run is not None:
            _write(job, run, _span(about, run, at, ended), about)
        files.remove(path)
        return run is not None
    return False


def _path(job: JobLayout, span_id: str) -> str:
    return os.path.join(job.pipelines_dir, span_id)


def _write(job: JobLayout, run: Run, span: Span, about: Mapping[str, Any]) -> None:
    """Put the span on record, once."""
    folder = runs.spans_dir(job, run, about["host"])
    links.avoid(job.root, job.runs_dir, job.run_dir(run.run), folder.parent, folder)
    files.make_folders(str(folder))
    path = str(folder / TRACES)
    if any(each.span_id == span.span_id for each in reader.spans(path)):
        return
    resource = Resource(attributes={**about["resource"], names.RUN: run.run})
    file = appending.AppendFile(path)
    try:
        file.write(encode.span_line(limits.fit_span(span), encode.tail(SCOPE, resource)))
        file.sync()
    finally:
        file.close()


def _span(about: Mapping[str, Any], run: Run, end: int, ended: Mapping[str, Value]) -> Span:
    failed = ended.get(names.STATUS) != names.SUCCESS
    return Span(
        trace_id=about["trace_id"],
        span_id=about["span_id"],
        parent_span_id=about["parent_span_id"],
        trace_state=about["trace_state"],
        name=about["name"],
        start_time_unix_nano=about["began"],
        end_time_unix_nano=end,
        attributes={
            **runs.attributes(run, str(about["resource"].get(names.JOB_ID, ""))),
            **about["attributes"],
            **ended,
        },
        status_code=_ERROR if failed else 0,
        status_message=str(ended.get(names.REASON, "")) if failed else "",
        flags=FLAGS_REMOTE if about["parent_span_id"] else FLAGS_LOCAL,
    )
