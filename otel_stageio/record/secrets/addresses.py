"""Secrets in addresses: user and password before the ``@``, and the values of query parameters so named.

An address is ``scheme://`` and what follows, also within another one: in the chains of fsspec
(``simplecache::s3://...``), in a parameter (``?next=https://...``), there percent-encoded too. All functions are pure,
and take time in proportion to the text.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Final

from otel_stageio.record.secrets.names import is_parameter, unquoted

if TYPE_CHECKING:
    from collections.abc import Callable

_SCHEME: Final = r"[A-Za-z][A-Za-z0-9+.-]*$"
_LONGEST_SCHEME: Final = 32
_END: Final = r"[\s\"'`<>]"
#: Up to the last @ before the first slash; or, where a colon comes first, up to any @: a password may hold a slash that
#: its writer forgot to escape.
_USERINFO: Final = r"[^/?#]*@|([^/?#@:\[]*):(?!:)([0-9]*(?=[/?#]))?[^@]*@"
#: An address that pathlib took for a path, and took a slash from.
_AS_A_PATH: Final = r"(\b[A-Za-z][A-Za-z0-9+.-]{1,31}:/)(?!/)([^/\s@:\"'`<>]*:[^/\s@\"'`<>]+)@"
#: Here the part before the @ is no user: it names the container.
_CONTAINERS: Final = frozenset({"abfs", "abfss", "wasb", "wasbs"})
#: Here a name alone lets nobody in.
_WITH_KEYS: Final = frozenset({"ssh", "git+ssh", "ssh+git", "svn+ssh", "sftp", "rsync", "scp"})
#: Here a path has hardly ever an @ in it, and no port is followed by one.
_WITH_LOGINS: Final = (
    "postgres",
    "mysql",
    "mariadb",
    "mongodb",
    "redis",
    "amqp",
    "mssql",
    "oracle",
    "ftp",
    "ldap",
    "smb",
)
#: Ports of two digits that are in use.
_PORTS: Final = frozenset({"21", "22", "25", "53", "70", "80", "88"})
_PORT_DIGITS: Final = range(2, 6)
_PARAMETER: Final = r"([?&#;])([^=&#;?]{1,200})=([^&#;]+)"
_LOOSE_PARAMETER: Final = r"([?&])([\w.%~-]{1,100})=([^&#;\s\"'`<>]+)"
_DEEPEST: Final = 3


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


def redact(text: str, hide: Callable[[str], str], *, whole: bool = False, deepest: int = _DEEPEST) -> str:
    """Replace the secrets of all addresses in `text` by what `hide` gives for them.

    With `whole` the text is one address, in which blanks and quotes are like any other character, and users and
    passwords are left out: an address says what a file is, and that they do not. `deepest` is how often the value of
    a parameter may be percent-encoded for an address in it to be found.
    """
    parts = text.split("://")
    for number in range(1, len(parts)):
        part = parts[number]
        end = None if whole else _compiled(_END).search(part)
        stop = end.start() if end else len(part)
        named = _compiled(_SCHEME).search(parts[number - 1][-_LONGEST_SCHEME:])
        chunk = _without_login(named[0].lower() if named else "", part[:stop], hide, whole=whole)
        parts[number] = _compiled(_PARAMETER).sub(lambda found: _parameter(found, hide, deepest), chunk) + part[stop:]
    text = "://".join(parts)
    if not whole and ":/" in text and "@" in text:
        text = _compiled(_AS_A_PATH).sub(lambda found: f"{found[1]}{hide(found[2])}@", text)
    if "?" in text or "&" in text:  # relative addresses, as in the logs of servers
        text = _compiled(_LOOSE_PARAMETER).sub(lambda found: _parameter(found, hide, deepest), text)
    return text


def _without_login(scheme: str, rest: str, hide: Callable[[str], str], *, whole: bool) -> str:
    found = _compiled(_USERINFO).match(rest)
    if found is None:
        return rest
    login = found[0][:-1]
    if not login or (":" not in login and (scheme in _CONTAINERS or scheme in _WITH_KEYS)):
        return rest
    if found[2] is not None and _is_port(found[2], scheme):
        return rest
    if ":" not in login and rest.startswith("sha256:", found.end()):  # an image and its digest
        return rest
    hidden = hide(login)
    if hidden == login:
        return rest
    return rest[found.end() :] if whole else f"{hidden}@{rest[found.end() :]}"


def _is_port(digits: str, scheme: str) -> bool:
    """Tell whether digits between a colon and a slash are a port, and not how a password begins."""
    if not digits:
        return True
    if len(digits) not in _PORT_DIGITS or scheme.startswith(_WITH_LOGINS):
        return False
    return len(digits) > 2 or digits in _PORTS  # noqa: PLR2004 - of more digits than two any may be


def _parameter(found: re.Match[str], hide: Callable[[str], str], deepest: int) -> str:
    before, name, value = found.groups()
    if is_parameter(name) or _holds_secret(value, hide, deepest):
        return f"{before}{name}={hide(value)}"
    return found[0]


def _holds_secret(value: str, hide: Callable[[str], str], deepest: int) -> bool:
    """Tell whether a value is, percent-encoded, an address that has a secret."""
    for _ in range(deepest):
        decoded = unquoted(value) if "%" in value else value
        if decoded == value:
            return False
        if ("://" in decoded or "?" in decoded) and redact(decoded, hide, deepest=0) != decoded:
            return True
        value = decoded
    return False
