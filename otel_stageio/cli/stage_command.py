"""``stageio run --stage``: any command as a stage, whose output is recorded and goes on as it is."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final, NamedTuple

from otel_stageio import conventions as names
from otel_stageio import settings as surroundings
from otel_stageio.cli import output
from otel_stageio.cli.child import CannotStart, Child
from otel_stageio.cli.terminal import Stream, are_one, hold
from otel_stageio.record.commands.output import STDERR, STDOUT, Output, Reader, leave
from otel_stageio.record.logs.logger import StageLogger
from otel_stageio.record.outcome import Outcome
from otel_stageio.record.stage import StageIO

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: Seconds after which a thread that computes lets one read: the command's output waits for none of ours.
_SWITCH: Final = 0.0005
#: Seconds for what a command wrote before it stopped to go through.
_SETTLING: Final = 0.5
_DESCRIPTORS: Final = {STDOUT: 1, STDERR: 2}


class Asked(NamedTuple):
    """The stage that was asked for, and its command."""

    job: str | None
    stage: str
    number: int | None
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    command: tuple[str, ...]


def run(asked: Asked) -> Outcome:
    """Run a command as a stage. Raises StageIOError where the stage cannot be opened: then nothing was started."""
    sys.setswitchinterval(_SWITCH)
    closed = hold((0, *_DESCRIPTORS.values()))  # before anything else is opened
    with Child() as child:
        # The terminal is the command's; what a person has to know is told by us.
        with surroundings.lent("STAGEIO_CONSOLE", "off"):
            io = StageIO(asked.stage, asked.job, stage_number=asked.number)
        for path in asked.inputs:
            io.track_input(path)
            if not _is_there(path):
                output.trouble(f"input {path} is missing")
        outcome = _run(io, child, asked.command, closed)
    try:
        return _ended(io, outcome, asked.outputs)
    except KeyboardInterrupt:  # while its outputs are read for their checksums
        io.close_failed("interrupted (SIGINT) after the command had ended", error_type="SIGINT", parts=True)
        raise


def _ended(io: StageIO, outcome: Outcome, outputs: Sequence[str]) -> Outcome:
    """End the stage as its command has ended, and as its outputs are."""
    outcome = _judged(io, outcome, outputs)
    if not outcome.signal:
        io.span.set_attribute(names.PROCESS_EXIT_CODE, outcome.code)
    if outcome.status == names.SUCCESS:
        io.finalize(names.SUCCESS)
    elif outcome.signal:
        io.close_failed(outcome.reason, error_type=outcome.error_type, parts=True)
    else:
        io.finalize(names.FAILED, reason=outcome.reason, exit_code=outcome.code)
    return outcome


def _run(io: StageIO, child: Child, command: Sequence[str], closed: set[int]) -> Outcome:
    stdout, stderr = _DESCRIPTORS.values()
    together = not closed and are_one(stdout, stderr)
    apart = {STDOUT: stdout} if together else _DESCRIPTORS
    streams = {name: Stream(number) for name, number in apart.items() if number not in closed}
    theirs = dict.fromkeys(closed, -1) | {apart[name]: of.theirs for name, of in streams.items()}
    if together:
        theirs[stderr] = theirs[stdout]
    try:
        child.start(command, _environ(io), theirs)
    except CannotStart as why:
        output.trouble(str(why))
        return Outcome(why.code, str(why))
    logger = io.get_stage_logger()
    assert isinstance(logger, StageLogger)  # noqa: S101 - for the type checker
    return _Running(io, child, streams, Output(logger.own)).to_the_end()


class _Running:
    """A command that has started, and its output."""

    def __init__(self, io: StageIO, child: Child, streams: Mapping[str, Stream], recorded: Output) -> None:
        self._io = io
        self._child = child
        self._streams = streams
        self._recorded = recorded
        tick = self._follow if any(of.is_terminal for of in streams.values()) else None
        self._readers = [Reader(of.out, name, recorded, of.through, tick=tick) for name, of in streams.items()]

    def to_the_end(self) -> Outcome:
        """Pass its output on and record it, until the command has ended."""
        for of, reader in zip(self._streams.values(), self._readers, strict=True):
            of.started()
            reader.start()
        code = self._child.wait(lambda: None, resized=self._resized, stopping=self._stopping)
        left = {reader.stream: held for reader in self._readers if (held := reader.finish()) >= 0}
        self._follow()
        for of in self._streams.values():
            of.close()
        self._recorded.close()
        if left:
            told = f"the command left a process behind that still holds its {' and '.join(left)}"
            self._io.add_warning(f"{told}: what that writes is not recorded")
            output.trouble(f"{told}: what that writes is passed on, and not recorded")
        for name, held in left.items():
            leave(held, _DESCRIPTORS[name])
        return self._passed_through(Outcome(code))

    def _passed_through(self, outcome: Outcome) -> Outcome:
        """Say where output got lost: without us the command would have been told, and had not ended well."""
        lost = [f"{name} cannot be written ({of.trouble})" for name, of in self._streams.items() if of.trouble]
        if not lost:
            return outcome
        why = f"output of the command is lost: {' and '.join(lost)}"
        output.trouble(why)
        if outcome.status == names.SUCCESS:
            return Outcome(1, why)
        self._io.add_warning(why)
        return outcome

    def _resized(self) -> bool:
        both = [of.resize() for of in self._streams.values()]
        return any(both)

    def _stopping(self) -> None:
        for reader in self._readers:
            reader.settle(_SETTLING)
        self._follow()

    def _follow(self) -> None:
        for of in self._streams.values():
            of.follow()


def _environ(io: StageIO) -> dict[str, str]:
    made = io.environ()
    if "LC_CTYPE" not in surroundings.environment_at_start():
        made.pop("LC_CTYPE", None)
    return made


def _judged(io: StageIO, outcome: Outcome, outputs: Sequence[str]) -> Outcome:
    """Track the outputs. A command that says success and did not make one of them has failed."""
    missing = []
    for path in outputs:
        there = _is_there(path)
        if there or outcome.status == names.SUCCESS:
            io.track_output(path)
        if not there:
            missing.append(path)
    if missing and outcome.status == names.SUCCESS:
        why = f"the command exited with 0 and did not make {', '.join(missing)}"
        output.trouble(why)
        return Outcome(1, why)
    return outcome


def _is_there(path: str) -> bool:
    """Whether there is such a file; a link to nothing is none. What is elsewhere (``s3://``) is not asked for."""
    return os.path.exists(path) or "://" in path
