"""Secrets in command lines: the values of flags and assignments, and what known programs take after a short flag.

An argument is a text of its own, so that a value goes to its end. All functions are pure.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Final

from otel_stageio.record.secrets.names import OPEN, is_switch
from otel_stageio.record.secrets.pairs import is_plain

if TYPE_CHECKING:
    from collections.abc import Callable

    Kind = Callable[[str], int]
    Hide = Callable[[str], str]

#: Flags after which a program takes a secret, in the next argument, or glued to a flag of one letter. All programs of
#: these tables stand in `redaction.PROGRAMS` too.
_FLAGS: Final[dict[str, tuple[str, ...]]] = {
    "sshpass": ("-p",),
    "docker": ("-p",),
    "podman": ("-p",),
    "helm": ("-p",),
    "az": ("-p",),
    "mongo": ("-p",),
    "mongosh": ("-p",),
    "mongodump": ("-p",),
    "mongorestore": ("-p",),
    "redis-cli": ("-a",),
    "ldapsearch": ("-w",),
    "ldapmodify": ("-w",),
    "sqlcmd": ("-P",),
    "bcp": ("-P",),
    "zip": ("-P",),
    "unzip": ("-P",),
    "openssl": ("-passin", "-passout", "-pass", "-K"),
    "ipmitool": ("-P",),
}
#: Programs that take the password glued to the flag only.
_GLUED: Final[dict[str, str]] = dict.fromkeys(("mysql", "mysqldump", "mysqladmin", "mariadb", "7z", "7za", "rar"), "-p")
#: Programs and the flags after which they take user and password, and what is between these.
_LOGINS: Final[dict[str, tuple[tuple[str, ...], str]]] = {
    "curl": (("-u", "--user", "-U", "--proxy-user"), ":"),
    "http": (("-a", "--auth"), ":"),
    "https": (("-a", "--auth"), ":"),
    "lftp": (("-u",), ","),
    "smbclient": (("-U", "--user"), "%"),
}
#: ``docker run -p 80:80`` is no login.
_ONLY_WITH: Final = {"docker": "login", "podman": "login", "helm": "login", "az": "login"}
_ASSIGNMENT: Final = r"(?s)([\w.:/@+-]{1,200}?)(=|:[ \t]+)(.+)"
_SHORT_FLAG: Final = 2
#: The same in a text: ``curl -u me:pw``, and as the repr of a list has it.
_LOGIN_IN_TEXT: Final = (
    r"""(?:(?<![\w-])-[uU]|--user|--proxy-user)(?:["'],[ ]?["']|[= \t]["']?|)[^\s"':=]{0,100}:(?!//)([^\s"']+)"""
)


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


def redact(arguments: list[str], *, kind: Kind, hide: Hide) -> list[str]:
    """Return the arguments with secrets replaced by what `hide` gives for them, as many as before."""
    programs = {argument.rpartition("/")[2] for argument in arguments}
    made: list[str] = []
    flag = ""
    for argument in arguments:
        before, flag = flag, ""
        if before and not _is_flag(argument):
            made.append(_hidden(before, argument, programs, kind, hide))
            continue
        if argument.startswith("-") and "=" not in argument and " " not in argument:
            flag = argument
        made.append(_alone(argument, programs, kind, hide))
    return made


def redact_logins(text: str, hide: Hide) -> str:
    """Replace the passwords that a text has curl called with by what `hide` gives for them."""
    if "curl" not in text:
        return text
    return _compiled(_LOGIN_IN_TEXT).sub(lambda found: found[0][: -len(found[1])] + hide(found[1]), text)


def _is_flag(argument: str) -> bool:
    """Tell whether an argument is the next flag: a password may begin with a hyphen, but hardly so."""
    return argument.startswith("--") or (argument.startswith("-") and len(argument) == _SHORT_FLAG)


def _hidden(flag: str, argument: str, programs: set[str], kind: Kind, hide: Hide) -> str:
    """An argument as it is to be shown after `flag`."""
    for program in programs & _LOGINS.keys():
        flags, between = _LOGINS[program]
        if flag in flags:
            return _without_password(argument, between, hide)
    for program in programs & _FLAGS.keys():
        if flag in _FLAGS[program] and _ONLY_WITH.get(program, program) in programs:
            return hide(argument)
    level = kind(flag)
    if level != OPEN and not is_switch(flag) and not is_plain(argument, level, flag):
        return hide(argument)
    return _alone(argument, programs, kind, hide)


def _without_password(login: str, between: str, hide: Hide) -> str:
    user, _, password = login.partition(between)
    return f"{user}{between}{hide(password)}" if password else login


def _alone(argument: str, programs: set[str], kind: Kind, hide: Hide) -> str:
    """An argument as it is to be shown by itself: an assignment, a header, or a flag and its value in one."""
    found = _compiled(_ASSIGNMENT).fullmatch(argument)
    if found:
        name, between, value = found.groups()
        level = kind(name)
        if level != OPEN and not is_plain(value, level, name):
            return f"{name}{between}{_unquoted(value, hide)}"
        for program in programs & _LOGINS.keys():
            flags, sign = _LOGINS[program]
            if name in flags:
                return f"{name}{between}{_without_password(value, sign, hide)}"
    if argument.startswith("-") and not argument.startswith("--") and len(argument) > _SHORT_FLAG:
        short, value = argument[:_SHORT_FLAG], argument[_SHORT_FLAG:]
        for program in programs & _LOGINS.keys():
            if short in _LOGINS[program][0]:
                return short + _without_password(value, _LOGINS[program][1], hide)
        glued = any(_GLUED[program] == short for program in programs & _GLUED.keys())
        if glued or ("sshpass" in programs and short == "-p"):
            return short + hide(value)
    return argument


def _unquoted(value: str, hide: Hide) -> str:
    """A hidden value in the quotes that it has."""
    if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
        return f"{value[0]}{hide(value[1:-1])}{value[0]}"
    return hide(value)
