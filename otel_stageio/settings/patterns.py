"""Patterns of what is to be hidden, from the environment or a pyproject.toml: which of them can be used."""

import re


def usable(patterns: list[str], where: str, problems: list[str]) -> tuple[str, ...]:
    """Return the patterns that can be used; what is wrong with the others goes to `problems`."""
    found = []
    for pattern in filter(None, map(str.strip, patterns)):
        hidden = pattern.removeprefix("!")
        try:
            compiled = re.compile(f"(?i:{hidden[:-1]})" if hidden.endswith("=") else hidden)
        except (re.error, RecursionError, OverflowError, Warning) as why:
            problems.append(f"{where}: {pattern!r} is no regular expression ({why}); it is passed over.")
            continue
        if not hidden.strip("=") or (hidden == pattern and compiled.search("")):
            problems.append(f"{where}: {pattern!r} matches the empty text; it is passed over.")
            continue
        found.append(pattern)
    return tuple(found)


def separated(text: str) -> list[str]:
    """The patterns of a variable: separated by commas and line ends, but for a comma in a count."""
    return re.split(r"\n|,(?![0-9]*\})", text)
