"""Secrets in text that their name stands before: ``password=...``, ``"token": "..."``, ``--api-key ...``, headers.

Found are names with one of the words of `names` in them and, after them, what makes the next word their value.
Where a value ends can be in doubt; then more is hidden rather than less. All functions are pure, and take time in
proportion to the text.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Final

from otel_stageio.record.secrets.names import NUMBERS, OPEN, PARTS, TEXT, is_switch

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_stageio.model import Value

    Kind = Callable[[str], int]
    Hide = Callable[[str], str]
    _Span = tuple[int, int]

#: A name from the part on that makes it one to ask about; any name.
_NAMED: Final = rf"(?:{'|'.join(PARTS)})[\w.-]{{0,64}}"
_ANY_NAME: Final = r"[\w.-]{1,128}"
#: What stands between a name and its value: an operator; the word "value" of a pair of attributes; "is"; the end of a
#: tag; or, after a flag, a blank, as a shell or the repr of a list has it.
_BETWEEN: Final = (
    r"""\\{0,4}["'`]?[\])]?[ \t]{0,8}(?P<operator>=>|:=|={1,3}(?!=)|:(?!:|//))"""
    r"""|\\{0,4}["'][ \t]{0,8},?\s{0,8}\\{0,4}["']?(?i:value)\\{0,4}["']?[ \t]{0,8}(?P<value>[=:])"""
    r"""|["']?[ \t]{1,8}(?P<verb>is)[ \t]"""
    r"""|(?P<tag>>)"""
    r"""|(?P<blank>\\{0,4}["']?,?[ \t]|\\{0,4}["'],(?=\\{0,4}["']))"""
)
_NAME_CHARACTERS: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")
_LONGEST_NAME: Final = 128
#: Names that a word before them makes clear: "API key", "next token", "second pass".
_VAGUE: Final = frozenset({"key", "keys", "token", "tokens", "pass"})
_WORD_BEFORE: Final = r"([A-Za-z]+) $"
_LONGEST_WORD: Final = 20
#: What is longer is neither a word nor a path, placeholder or piece of code; and no folder is called so.
_LONGEST_PLAIN: Final = 200
_LONGEST_FOLDER: Final = 300

_QUOTE: Final = r"""(?:[bBrRuUfF]{1,2}(?=["']))?(\\{0,4})(\"\"\"|'''|["'`])"""
_INSIDE: Final = r"""[^%s\\\n]*(?:\\.[^%s\\\n]*)*"""
#: A list, tuple or mapping without another one in it.
_GROUP: Final = r"\[[^\[\]]*\]|\([^()]*\)|\{[^{}]*\}"
#: A bare value goes on over commas and the like where no blank, quote or further pair comes after them.
_BARE: Final = (
    r"""(?:[^\s"'`,;&<\\]+|[,;&](?!\s|$|\\{0,4}["']|\\{0,4}["']?[\w.-]{1,40}\\{0,4}["']?[ \t]{0,3}[=:])"""
    r"""|["'`](?=[\w!@#$%^*+/-])|<(?!/)|\\(?!\\{0,4}["']|r\\{1,2}n))*"""
)
#: To the end, or to a quote that is not the beginning of a value in it.
_LINE: Final = r"""[^\n\r"'`\\]*(?:(?:\\(?![nr"'\\])|(?<==)"[^"\n\r]*"|(?<==)'[^'\n\r]*')[^\n\r"'`\\]*)*"""
#: The parameters of a scheme, which may be quoted.
_PARAMETERS: Final = r"""(?:[^\n\r"'`\\]+|"[^"\n]*"|\\(?![nr"'\\]))*"""
_COOKIE: Final = r"""[^\s=;,"'`]{1,100}="""
_BLANKS: Final = r"[ \t]{0,8}"
_ELEMENT: Final = r"[^<]*"
#: A scheme and its credentials: one word for most, a line of them for others.
_SCHEME: Final = (
    r"(?i:(?:(bearer|basic|token|api-?key|negotiate|ntlm)|digest|aws4-hmac-sha256|oauth|hawk|mac|signature)[ \t]{1,8})"
)
_CLOSERS: Final = {")": "(", "]": "[", "}": "{", ">": "<"}

#: Words that tell how it stands with a secret, or what it is, and are none.
_STATES: Final = frozenset(
    {
        *("none", "null", "nil", "undefined", "na", "n/a", "nan", "true", "false", "yes", "no", "on", "off", "ok"),
        *("required", "optional", "enabled", "disabled", "default", "unset", "set", "missing", "empty", "present"),
        *(
            "anonymous",
            "basic",
            "bearer",
            "digest",
            "oauth",
            "oauth2",
            "jwt",
            "kerberos",
            "unknown",
            "hidden",
            "redacted",
        ),
        *(
            "invalid",
            "valid",
            "incorrect",
            "correct",
            "wrong",
            "expired",
            "refreshed",
            "accepted",
            "rejected",
            "denied",
        ),
        *("failed", "success", "succeeded", "found", "loaded", "changed", "updated", "created", "revoked", "masked"),
        *("str", "string", "int", "bytes", "bool", "text", "optional[str]", "secretstr", "any", "object", "not"),
    }
)
#: Words that follow a flag where somebody writes about it.
_PROSE: Final = frozenset(
    {
        *(
            "to",
            "for",
            "is",
            "was",
            "and",
            "or",
            "in",
            "on",
            "if",
            "the",
            "a",
            "an",
            "option",
            "flag",
            "argument",
            "with",
        ),
        *("from", "when", "must", "given", "by", "of", "has", "needs", "instead", "as", "at", "can", "cannot", "are"),
    }
)
#: What is no secret by its form: masks, references to variables, placeholders, special tokens, paths, code.
_PLAIN: Final = (
    r"[*•xX.]{3,}|[*•]+|\$[({].*|\$[A-Z_][A-Z0-9_]*|%(?:\(\w+\))?[sr]|\{\{?[A-Za-z_. ]*\}?\}|<[/|]?[A-Za-z_ |]{1,30}>"
    r"|[\[(][A-Za-z_]{0,12}[\])]|(?:~|\.{1,2}|/(?:home|etc|usr|var|run|tmp|opt|mnt|media|data|root|srv|proc|dev|Users))/.*"
    r"|[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+[(\[].*|(?:self|args|os|cfg|config)\.[\w.]+"
)
_NUMBER: Final = r"[+-]?[0-9]{1,5}(?:\.[0-9]+)?%?|[\[(][0-9\s,.+-]*[\])]"
_CALL: Final = r"[A-Za-z_]\w*\(.*"
#: A verb makes many a word its object; a secret has letters and digits.
_MIXED: Final = r"(?=[^0-9]*[0-9])(?=[^A-Za-z]*[A-Za-z])"


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


def redact(text: str, *, kind: Kind, hide: Hide, all_names: bool = False) -> str:
    """Replace the values that stand after secret names in `text` by what `hide` gives for them.

    `kind` tells what a name says of its value; it is asked about names that have one of `names.PARTS` in them,
    or about all names.
    """
    search, between = _compiled(_ANY_NAME if all_names else _NAMED).search, _compiled(_BETWEEN).match
    # No character becomes shorter, so that in text of the same length each is where it was.
    low = text.lower()
    low = low if len(low) == len(text) else "".join(one if len(one.lower()) > 1 else one.lower() for one in text)
    pieces: list[str] = []
    at = done = 0
    while (found := search(low, at)) is not None:
        at = found.end()
        then = between(text, found.end())
        if then is None:
            continue
        at = then.end()
        span = _secret(text, (_name_start(text, found.start(), done), found.end()), then, kind)
        if span is None:
            continue
        value = text[slice(*span)]
        hidden = hide(value)
        at = span[1]
        if hidden != value:
            pieces += (text[done : span[0]], hidden)
            done = at
    return "".join((*pieces, text[done:])) if pieces else text


def is_plain(value: str, level: int, name: str = "") -> bool:
    """Tell whether a value is none that has to be hidden, though the name before it says so (`level` is its kind)."""
    if level == OPEN or not value or value.isspace():
        return True
    if level > NUMBERS or len(value) > _LONGEST_PLAIN:
        return False
    if value.strip().lower() in _STATES or _compiled(_PLAIN).fullmatch(value):
        return True
    if name.lower() == "pwd" and value.startswith(("/", "~")):  # the shell's working directory
        return True
    return level == TEXT and bool(_compiled(_NUMBER).fullmatch(value) or _compiled(_CALL).fullmatch(value))


def is_secret(value: Value, level: int, name: str) -> bool:
    """Tell whether a value of whatever type has to be hidden, its name being of that kind (`level`)."""
    if value is None:
        return False
    if isinstance(value, bool):
        return level > NUMBERS
    if isinstance(value, (int, float)):
        return level >= NUMBERS
    if isinstance(value, str):
        return not is_plain(value, level, name)
    return bool(value) and (level >= NUMBERS or _has_text(value))


def _has_text(value: Value) -> bool:
    if isinstance(value, dict):
        return any(_has_text(one) for one in value.values())
    if isinstance(value, list):
        return any(_has_text(one) for one in value)
    # A mark is what was hidden already, be it a number.
    return isinstance(value, (str, bytes)) and value not in ("", b"", "[REDACTED]")


def _name_start(text: str, at: int, least: int) -> int:
    """Where the name begins that has a character at `at`."""
    least = max(least, at - _LONGEST_NAME)
    start = at
    while start > least and text[start - 1] in _NAME_CHARACTERS:
        start -= 1
    if start and text[start - 1] == "\\" and start < at and text[start] in "nrt":  # in a repr: the end of a line
        start += 1
    return start


def _secret(text: str, name_at: _Span, then: re.Match[str], kind: Kind) -> _Span | None:
    """Where the secret begins and ends that the name at `name_at` has, with `then` between them; None for none."""
    start = name_at[0]
    name = text[slice(*name_at)]
    by = then.lastgroup
    if by == "blank" and (not name.startswith("-") or is_switch(name)):
        return None
    if by == "tag" and text[start - 1 : start] != "<":
        return None
    level = kind(_with_word_before(text, start, name))
    if level == OPEN:
        return None
    end = len(text)
    if by == "operator" and text[start - 1 : start] == "/":  # a folder's name
        slash = text.find("/", then.end(), then.end() + _LONGEST_FOLDER)
        end = slash if slash >= 0 else end
    span, quoted = _span(text, (then.end(), end), name.lower(), by)
    value = text[slice(*span)]
    if by == "blank" and (value.startswith("-") or value.lower() in _PROSE):
        return None
    if by == "verb" and not quoted and not _compiled(_MIXED).match(value):
        return None
    return None if is_plain(value, level, name) else span


def _with_word_before(text: str, start: int, name: str) -> str:
    """The name, and where it is a word that says little alone, the word before it too: ``API key``, ``next token``."""
    if name.lower() in _VAGUE and text[start - 1 : start] == " ":
        before = _compiled(_WORD_BEFORE).search(text[max(0, start - _LONGEST_WORD) : start])
        if before:
            return f"{before[1]}_{name}"
    return name


def _span(text: str, within: _Span, name: str, by: str | None) -> tuple[_Span, bool]:
    """Where the value begins and ends that comes next in that part of the text, and whether it is quoted."""
    if by == "tag":
        return _matched(_ELEMENT, text, within), True
    at, end = _matched(_BLANKS, text, within)[1], within[1]
    quote = _compiled(_QUOTE).match(text, at, end)
    if quote:
        return _quoted(text, quote), True
    group = _compiled(_GROUP).match(text, at, end)
    if group:
        return group.span(), False
    if text.startswith("{", at):
        return (at, at), False
    if "auth" in name and (scheme := _compiled(_SCHEME).match(text, at, end)):
        rest = (scheme.end(), end)
        return _bare(text, rest) if scheme[1] else _matched(_PARAMETERS, text, rest), False
    if by == "operator" and ("phrase" in name or ("cookie" in name and _compiled(_COOKIE).match(text, at, end))):
        return _matched(_LINE, text, (at, end)), False
    return _bare(text, (at, end)), False


def _matched(pattern: str, text: str, within: _Span) -> _Span:
    found = _compiled(pattern).match(text, *within)
    return found.span() if found else (within[0], within[0])


def _quoted(text: str, quote: re.Match[str]) -> _Span:
    """The inside of a quoted value, whose quotes may be escaped themselves; to the line's end where none closes it."""
    escape, mark = quote.groups()
    start = quote.end()
    if escape or len(mark) > 1:
        stop = text.find(escape + mark, start)
        return (start, stop) if stop >= 0 else _matched(_LINE, text, (start, len(text)))
    return _matched(_INSIDE % (mark, mark), text, (start, len(text)))


def _bare(text: str, within: _Span) -> _Span:
    """A value without quotes, without the punctuation and the brackets behind it that nothing opens in it."""
    start, stop = _matched(_BARE, text, within)
    opened = {closer: text.count(opener, start, stop) for closer, opener in _CLOSERS.items()}
    closed = {closer: text.count(closer, start, stop) for closer in _CLOSERS}
    while stop > start:
        last = text[stop - 1]
        if last in closed and closed[last] > opened[last]:
            closed[last] -= 1
        elif last not in ".,;:":
            break
        stop -= 1
    return start, stop
