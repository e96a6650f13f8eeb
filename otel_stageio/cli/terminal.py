"""A stream of ours as the command sees it: a terminal where ours is one, else a pipe; and our own end of it.

The command's terminal is a pseudoterminal with the settings and size of ours, and without output processing, so that
what comes out of it is what went in; ours does the processing, once. Keys are typed at our terminal, so what the
command sets up at its own (no echo, each key at once) is set up at ours. Pagers (less, more) also read the keys from
the terminal of their stderr; so what is typed then, and nobody takes at ours, is handed over.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import io
import os
import select
import stat
import termios
import threading
import time
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

_SIZE: Final = 8
_STDERR: Final = 2
#: Places in what `tcgetattr` gives.
_IFLAG, _OFLAG, _LFLAG = 0, 1, 3
#: Seconds within which a command that reads our terminal has taken a key; milliseconds between two looks.
_UNTAKEN: Final = 0.05
_LOOK: Final = 50
_KEYS: Final = 1024
#: Nobody reads a pipe any more, or a terminal has hung up: the command's end is all that there is to tell.
_GONE: Final = (errno.EPIPE, errno.EIO)
#: What `cfmakeraw` leaves of these.
_COOKED_IN: Final = termios.ICRNL | termios.IXON | termios.ISTRIP
_COOKED: Final = termios.ICANON | termios.ECHO | termios.ISIG | termios.IEXTEN


def hold(descriptors: Sequence[int]) -> set[int]:
    """See to it that none of our streams that are closed becomes another file; gives those that were."""
    closed = set()
    for each in descriptors:
        try:
            os.fstat(each)
        except OSError:
            closed.add(each)
            os.open(os.devnull, os.O_RDONLY)  # the lowest that is free
    return closed


def are_one(first: int, second: int) -> bool:
    """Whether two streams are one file or pipe, as after ``2>&1``: then it is the order that counts."""
    found, other = os.fstat(first), os.fstat(second)
    return (found.st_dev, found.st_ino) == (other.st_dev, other.st_ino) and not stat.S_ISCHR(found.st_mode)


class Stream:
    """Our stdout or stderr, and what the command has in its place."""

    def __init__(self, descriptor: int) -> None:
        """Stand for our `descriptor`, 1 or 2. Raises OSError where there are no pseudoterminals or pipes left."""
        self._ours = descriptor
        self.is_terminal = os.isatty(descriptor)
        self._settings: list[Any] = []
        self._size = b""
        #: Whether ours processes output: within another `stageio run --stage` it is a pseudoterminal of that.
        self._processing = termios.OPOST
        self._passing_keys = threading.Lock()
        #: Why not all that the command wrote is where it was meant for; "" also where nobody reads it any more.
        self.trouble = ""
        #: The command's terminal, for as long as somebody reads it; -1 where it has none.
        self._control = -1
        #: What the command gets, and what it then comes out of.
        self.theirs, self.out = -1, -1
        if self.is_terminal:
            self.out, self.theirs = os.openpty()
            with contextlib.suppress(termios.error):
                settings = termios.tcgetattr(descriptor)
                self._processing = settings[_OFLAG] & termios.OPOST
                settings[_OFLAG] &= ~termios.OPOST
                termios.tcsetattr(self.theirs, termios.TCSANOW, settings)
                self._settings = termios.tcgetattr(self.theirs)
            self._control = os.dup(self.out)
            self.resize()
        else:
            self.out, self.theirs = os.pipe()

    def started(self) -> None:
        """The command has its end: from now on the last one that closes it ends the stream."""
        os.close(self.theirs)

    def close(self) -> None:
        """Know no more of the command's terminal."""
        control, self._control = self._control, -1
        if control >= 0:
            os.close(control)

    def resize(self) -> bool:
        """Hand the size of our terminal on; whether it is another one.

        Only then is the group told again: of several of us, one within another, each would answer the others for ever.
        """
        if self.is_terminal:
            with contextlib.suppress(OSError):
                size = fcntl.ioctl(self._ours, termios.TIOCGWINSZ, bytes(_SIZE))
                fcntl.ioctl(self._control, termios.TIOCSWINSZ, size)
                before, self._size = self._size, size
                return size != before
        return False

    def follow(self) -> None:
        """Set our terminal up as the command has set up its own since, if we are in the foreground."""
        control = self._control  # another thread may close it meanwhile
        if control < 0:
            return
        with contextlib.suppress(OSError, termios.error):
            wanted = termios.tcgetattr(control)
            if wanted != self._settings and self._in_front():
                self._settings = wanted
                made = [*wanted]
                made[_OFLAG] |= 0 if _is_raw(wanted) else self._processing
                termios.tcsetattr(self._ours, termios.TCSANOW, made)
            if self._ours == _STDERR and self._wants_keys() and self._passing_keys.acquire(blocking=False):
                threading.Thread(target=self._pass_keys, name="otel-stageio-keys", daemon=True).start()

    def _wants_keys(self) -> bool:
        control = self._control
        if control < 0 or termios.tcgetattr(control)[_LFLAG] & termios.ICANON:
            return False
        return self._in_front()

    def _in_front(self) -> bool:
        """Whether we may set our terminal up. Of one that does not control us nobody is in the background."""
        return not _controls(self._ours) or os.tcgetpgrp(self._ours) == os.getpgrp()

    def _keyboard(self) -> io.FileIO:
        """Where keys are typed. What another `stageio run --stage` around us does not read, it hands over at ours."""
        return io.FileIO(os.ctermid() if _controls(self._ours) else os.dup(self._ours))

    def _pass_keys(self) -> None:
        """Hand keys over for as long as the command asks for single ones at its stderr."""
        with contextlib.suppress(OSError, termios.error), self._keyboard() as ours:
            typed = select.poll()
            typed.register(ours, select.POLLIN)
            while self._wants_keys():
                if not typed.poll(_LOOK):
                    continue
                time.sleep(_UNTAKEN)
                if typed.poll(0) and self._wants_keys() and not os.write(self._control, ours.read(_KEYS) or b""):
                    break
        self._passing_keys.release()

    def through(self, data: bytes) -> bool:
        """Write what the command wrote; False where nobody reads it any more."""
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[os.write(self._ours, rest) :]
            except BlockingIOError:  # somebody has made the file behind it so, for all who share it
                waiting = select.poll()
                waiting.register(self._ours, select.POLLOUT)
                waiting.poll()
            except OSError as why:
                if why.errno not in _GONE:
                    self.trouble = why.strerror or str(why)
                self.close()
                return False
        return True


def _controls(terminal: int) -> bool:
    """Whether it is our controlling terminal."""
    try:
        os.tcgetpgrp(terminal)
    except OSError:
        return False
    return True


def _is_raw(settings: list[Any]) -> bool:
    """Whether the command has turned off all processing, as `cfmakeraw` does; output processing was off before."""
    return not (settings[_IFLAG] & _COOKED_IN or settings[_LFLAG] & _COOKED) and bool(settings[_OFLAG] & termios.ONLCR)
