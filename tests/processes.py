"""Work in forked processes that begin at once: a process costs a millisecond where starting Python costs a hundred."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import traceback
from functools import cache
from typing import TYPE_CHECKING, Any

from otel_stageio.job import registry
from otel_stageio.record import opening

if TYPE_CHECKING:
    from collections.abc import Callable


def in_processes(count: int, work: Callable[[int], object]) -> list[Any]:
    """Run `work` with the numbers from 0 up in as many processes at once; give what they return (JSON), by number.

    What a process raises is given as its traceback.
    """
    start_read, start_write = os.pipe()
    children = []
    for number in range(count):
        answer_read, answer_write = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(start_write)
            _answer(start_read, answer_write, lambda number=number: work(number))
        os.close(answer_write)
        children.append((child, answer_read))
    os.close(start_read)
    os.close(start_write)
    answers = []
    for child, answer_read in children:
        with open(answer_read, "rb") as file:
            answers.append(json.loads(file.read()))
        os.waitpid(child, 0)
    return answers


def _answer(start: int, out: int, work: Callable[[], object]) -> None:
    answer = ""
    try:
        os.read(start, 1)  # returns when the parent closes its end
        answer = json.dumps(work())
    except BaseException:  # noqa: BLE001 - told to the parent, whatever it is
        answer = json.dumps(traceback.format_exc())
    finally:
        with open(out, "w", encoding="utf-8") as file:
            file.write(answer)
        os._exit(0)


def killed_after(work: Callable[[], object]) -> None:
    """Do `work` in a process that is killed then, or at any moment of it that `work` chooses itself."""
    child = os.fork()
    if child == 0:
        try:
            work()
            os.kill(os.getpid(), signal.SIGKILL)
        except BaseException:  # noqa: BLE001 - this is no other pytest, whatever it is
            traceback.print_exc()
        finally:
            os._exit(1)
    _, ended = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(ended) == -signal.SIGKILL


_FORKS = """
import os, threading, time, warnings
os.register_at_fork(after_in_parent=threading.Thread(target=time.sleep, args=(1,), daemon=True).start)
warnings.simplefilter("always")
if os.fork() == 0:
    os._exit(0)
os.wait()
"""


@cache
def forks_are_counted_too_late() -> bool:
    """Whether this Python warns of a fork because of threads that begin after it: gh-137109, mended in 3.13.10."""
    made = subprocess.run([sys.executable, "-c", _FORKS], stderr=subprocess.PIPE, text=True, check=False)
    return "multi-threaded" in made.stderr


def in_new_process(work: Callable[[], object]) -> Any:
    """Run `work` in a process that takes part in no run and knows no job yet, as one started anew; give its answer."""

    def anew(_: int) -> object:
        opening._joined.clear()
        registry._memory.clear()
        return work()

    return in_processes(1, anew)[0]
