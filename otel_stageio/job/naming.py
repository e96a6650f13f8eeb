"""Which names a stage and an item may have, and how they become folder names.

Nothing here looks at the disk.
"""

import os

from otel_stageio.errors import ItemNameError, StageNameError, StageNumberError, attempt, quoted

#: What the file systems of Linux and macOS allow for one name, in bytes.
NAME_BYTES = 255
#: Numbers fit the 64 bit of OTLP's integers with room to count on; a longer row of digits is part of the name.
_DIGITS = 18
#: Control characters, and what else ends a line. (No regular expressions here: compiling them is felt at start-up.)
_CONTROLS = frozenset(map(chr, (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029)))
#: Files of ours in a stage's folder, where an item has its own: the log has a suffix for each further host.
_LOG, _LOG_END, _OURS = "stage.", ".log", frozenset({"manifest.json"})


def is_count(text: str) -> bool:
    """Whether a text is a number as folders have it."""
    return text.isascii() and text.isdigit() and len(text) <= _DIGITS


def has_controls(text: str) -> bool:
    """Whether a text would forge lines of a log."""
    return not _CONTROLS.isdisjoint(text)


def split_name(text: str) -> tuple[int | None, str]:
    """Split ``06_asr`` into 6 and ``asr``; a text without a number in front comes back whole, with None.

    Raises StageNameError where `text` is not a str. Whether the name is allowed is `check_name`'s to say.
    """
    number, _, name = _text(text).partition("_")
    return (int(number), name) if name and is_count(number) else (None, text)


def check_name(name: str) -> str:
    """Return `name`, a stage's without its number, if it can be part of a folder name and of a log line.

    Raises StageNameError, which says what is wrong: no text, empty, ``.``, ``/``, ``..``, a control character or line
    break (it would forge log lines), a blank at an end, or a folder name of more than 255 bytes.
    """
    trouble = _trouble(_text(name))
    if trouble:
        message = f"the stage name {quoted(name)} {trouble}; give one that can be a folder's name, such as 'asr'"
        raise StageNameError(message)
    return name


def _text(name: object) -> str:
    if isinstance(name, str):
        return name
    message = f"a stage name is text, {quoted(name)} is {type(name).__name__}"
    raise StageNameError(message)


def _trouble(name: str) -> str:
    trouble = _no_part(name)
    if trouble:
        return trouble
    if name.endswith("_") and name[:-1].isdigit():
        return "is a number without a name"
    return _no_folder(joined_name(0, name))


def _no_part(name: str) -> str:
    """Why a name is no one part of a path and of a log line; "" where it is."""
    if not name.strip():
        return "is empty"
    if name == "." or ".." in name:
        return "is a step through folders" if name in {".", ".."} else "holds '..'"
    if "/" in name or os.sep in name:
        return "holds a '/'" if "/" in name else f"holds a {os.sep!r}"
    if has_controls(name):
        return "holds a control character or a line break"
    if name != name.strip():
        return "begins or ends with a blank"
    return ""


def _no_folder(folder: str) -> str:
    try:
        size = len(os.fsencode(folder))
    except UnicodeEncodeError:
        return "cannot be written in the encoding of file names"
    return f"makes a folder name of {size} bytes, {NAME_BYTES} are possible" if size > NAME_BYTES else ""


def check_number(number: int) -> int:
    """Return `number` as an int. Raises StageNumberError where it is none, is negative or has more than 18 digits.

    What counts as an integer in Python (numpy's too) is one here, a bool is not.
    """
    value = attempt(lambda: -1 if isinstance(number, bool) else number.__index__(), lambda _: -1)
    if not 0 <= value < 10**_DIGITS:
        message = f"the stage number {quoted(number)} is not a whole number from 0 up (of at most {_DIGITS} digits)"
        raise StageNumberError(message)
    return value


def folder_name(number: int, name: str) -> str:
    """Return the stage's folder name, ``06_asr``: the number with two digits, more where it needs them.

    Raises StageNameError where that exceeds 255 bytes.
    """
    joined = joined_name(number, name)
    trouble = _no_folder(joined)
    if trouble:
        message = f"the stage name {quoted(name)} with the number {number} {trouble}; give a shorter one"
        raise StageNameError(message)
    return joined


def joined_name(number: int, name: str) -> str:
    """The same, however long it becomes."""
    return f"{number:02d}_{name}"


def check_item(item: object) -> str:
    """Return `item` as text if it can be the name of a folder in the stage's, and part of a log line.

    A whole number is taken as its digits: the index of an array task. Raises ItemNameError, which says what is wrong:
    no text, empty, ``/``, ``..``, a dot in front, a control character or line break, a blank at an end, the name of a
    file that a stage has there, or more than 255 bytes.
    """
    known: object = "" if isinstance(item, (str, bool)) else attempt(lambda: str(item.__index__()), lambda _: "")  # type: ignore[attr-defined] # numpy's have it, too
    name = known or item
    if not isinstance(name, str):
        raise ItemNameError(f"an item's name is text, {quoted(item)} is {type(item).__name__}")
    trouble = _item_trouble(name)
    if trouble:
        raise ItemNameError(f"the item name {quoted(name)} {trouble}; give one that can be a folder's name: 'ep042'")
    return name


def _item_trouble(name: str) -> str:
    trouble = _no_part(name)
    if trouble:
        return trouble
    if name.startswith("."):
        return "begins with a dot, as what is kept beside the items does"
    if name in _OURS or (name.startswith(_LOG) and name.endswith(_LOG_END)):
        return "is that of a file that a stage has in its folder"
    return _no_folder(name)
