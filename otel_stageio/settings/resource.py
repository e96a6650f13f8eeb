"""OTEL_RESOURCE_ATTRIBUTES: what the program's surroundings say of it, on every line of the journal.

``key=value,key=value``, percent-encoded. Source: OpenTelemetry specification, resource SDK: of a malformed value
nothing is taken.
"""

import re

_NAME = "OTEL_RESOURCE_ATTRIBUTES"
_SERVICE_NAME = "service.name"
#: What is ours to say.
_OURS = ("stageio.", "telemetry.sdk.")
#: Bytes of all keys and values: they are on every line.
_MOST = 4096
_SHOWN = 100


def service_name(text: str) -> str | None:
    """The service's name, also where something else in `text` is malformed."""
    found = None
    for pair in text.split(","):
        key, _, value = pair.partition("=")
        if key.strip() == _SERVICE_NAME:
            found = value.strip() or None
    if found is not None and "%" in found:
        from urllib.parse import unquote

        return unquote(found)
    return found


def attributes(text: str, problems: list[str]) -> tuple[tuple[str, str], ...]:
    """The other attributes in their order, of a repeated key the last value; what cannot be taken is told."""
    found: dict[str, str] = {}
    for pair in filter(None, map(str.strip, text.split(","))):
        key, separator, value = pair.partition("=")
        decoded = [_decoded(each.strip()) for each in (key, value)]
        if not separator or not decoded[0] or None in decoded:
            problems.append(
                f"{_NAME} is not written as key=value,key=value with commas and signs percent-encoded; "
                f"no attribute is taken from it."
            )
            return ()
        found[decoded[0]] = decoded[1] or ""
    found.pop(_SERVICE_NAME, None)
    ours = [key for key in found if key.startswith(_OURS)]
    if ours:
        problems.append(f"{_NAME} cannot set {', '.join(ours)[:_SHOWN]}; it is passed over.")
    return _cut([(key, value) for key, value in found.items() if key not in ours], problems)


def _decoded(text: str) -> str | None:
    """The text itself; None where its percent-encoding is broken. What is no Unicode is as escapes."""
    if "%" in text:
        from urllib.parse import unquote_to_bytes

        if re.search(r"%(?![0-9A-Fa-f]{2})", text):
            return None
        try:
            text = unquote_to_bytes(text.encode("utf-8", "surrogateescape")).decode()
        except ValueError:
            return None
    return text.encode("utf-8", "backslashreplace").decode()


def _cut(pairs: list[tuple[str, str]], problems: list[str]) -> tuple[tuple[str, str], ...]:
    """As many of the pairs, from the first on, as there is room for."""
    room = _MOST
    for index, (key, value) in enumerate(pairs):
        room -= len(key.encode()) + len(value.encode())
        if room < 0:
            problems.append(
                f"{_NAME} holds over {_MOST} bytes, and every line repeats them; "
                f"from {key[:_SHOWN]!r} on it is passed over."
            )
            return tuple(pairs[:index])
    return tuple(pairs)
