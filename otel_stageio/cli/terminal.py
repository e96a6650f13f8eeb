"""A stream of ours as the command sees it: a terminal where ours is one, else a pipe; and our own end of it.

The command's terminal is a pseudoterminal with the settings and size of ours, and without output processing, so that
what comes out of it is what went in; ours does the processing, once.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import termios
from typing import Final

_SIZE: Final = 8
_OFLAG: Final = 1


class Stream:
    """Our stdout or stderr, and what the command has in its place."""

    def __init__(self, descriptor: int) -> None:
        """Stand for our `descriptor`, 1 or 2. Raises OSError where there are no pseudoterminals or pipes left."""
        self._ours = descriptor
        self.is_terminal = os.isatty(descriptor)
        #: What the command gets, and what it then comes out of.
        self.theirs, self.out = -1, -1
        if self.is_terminal:
            self.out, self.theirs = os.openpty()
            with contextlib.suppress(termios.error):
                settings = termios.tcgetattr(descriptor)
                settings[_OFLAG] &= ~termios.OPOST
                termios.tcsetattr(self.theirs, termios.TCSANOW, settings)
            self.resize()
        else:
            self.out, self.theirs = os.pipe()

    def started(self) -> None:
        """The command has its end: from now on the last one that closes it ends the stream."""
        os.close(self.theirs)

    def resize(self) -> bool:
        """Hand the size of our terminal on; whether there is one."""
        if self.is_terminal:
            with contextlib.suppress(OSError):
                size = fcntl.ioctl(self._ours, termios.TIOCGWINSZ, bytes(_SIZE))
                fcntl.ioctl(self.out, termios.TIOCSWINSZ, size)
        return self.is_terminal

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
            except OSError:
                return False
        return True
