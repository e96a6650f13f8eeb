"""What more than one row is compared with."""

from __future__ import annotations

import hashlib
import sys

if sys.version_info >= (3, 11):

    def file_digest(path: str) -> str:
        """The sha256 of a file in hex, as the standard library does it."""
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

else:

    def file_digest(path: str) -> str:
        """The sha256 of a file in hex, as the standard library of Python 3.11 does it."""
        digest = hashlib.sha256()
        piece = memoryview(bytearray(1 << 18))
        with open(path, "rb", buffering=0) as file:
            while count := file.readinto(piece):
                digest.update(piece[:count])
        return digest.hexdigest()
