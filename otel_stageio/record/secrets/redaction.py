"""The one choke point for secrets: what every text and value passes before it is written anywhere.

Hidden are the values of names that look like secrets, tokens of known shapes, private keys, credentials in addresses
and command lines, the values of environment variables so named wherever they turn up, and what the user's own patterns
say. The mark is the same everywhere. A text costs a few searches for literal substrings; only where one of them is
found are the regular expressions loaded and asked.
"""

from __future__ import annotations

import re
from copy import copy
from threading import get_ident
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from otel_stageio.model import Attributes, Value

    _Patterns = tuple[tuple[re.Pattern[str], ...], ...]

_Given = TypeVar("_Given")

#: What stands where a secret stood.
MARK: Final = "[REDACTED]"

#: What nearly all tokens are, behind their prefix: longer than a word, a date or the parts of a uuid.
_after_underscore = re.compile(r"_[0-9A-Za-z]{16}").search
_after_hyphen = re.compile(r"-[0-9A-Za-z_-]{28}").search
#: Programs whose short flags `commands` knows.
PROGRAMS: Final = frozenset(
    {
        *("7z", "7za", "az", "bcp", "curl", "docker", "helm", "http", "https", "ipmitool", "ldapmodify", "ldapsearch"),
        *("lftp", "mariadb", "mongo", "mongodump", "mongorestore", "mongosh", "mysql", "mysqladmin", "mysqldump"),
        *("openssl", "podman", "rar", "redis-cli", "smbclient", "sqlcmd", "sshpass", "unzip", "zip"),
    }
)
#: One pass is enough, and a second one finds nothing; in hostile text a mark may make a new beginning of a secret.
_MOST_PASSES: Final = 10
_MOST_NAMES: Final = 4096
_LONGEST_NAME: Final = 200


class Redactor:
    """Hides secrets in texts, values and command lines. Never raises, and asks nothing of the outside.

    May be used from all threads, signal handlers and children by fork: it holds no lock, and what it hides is counted
    by each thread for itself. Redacting what was redacted changes nothing.
    """

    __slots__ = (
        "_clean_keys",
        "_finds",
        "_hidden_names",
        "_hidden_texts",
        "_hits",
        "_kinds",
        "_literals",
        "_open_names",
        "_open_texts",
        "own",
    )

    def __init__(self, patterns: Iterable[str] = (), environ: Mapping[str, str] | None = None) -> None:
        """Take the entries of `Settings.redact`, passing over what is no pattern, and the environment.

        A pattern is a regular expression that is searched for in texts. With ``=`` at its end it is that of a name, in
        whole and without regard to case, whose values are hidden. With ``!`` before it, it is that of what stays
        readable: a name, or the whole of a text that would be hidden.
        """
        self._hits: dict[int, int] = {}
        self._kinds: dict[str, int] = {}
        self._clean_keys: set[str] = set()
        self._hidden_texts, self._hidden_names, self._open_texts, self._open_names = _patterns(tuple(patterns))
        self._finds = tuple(one.search for one in (*self._hidden_texts, *self._hidden_names))
        self._literals = tuple(sorted(self._known(environ or {}), key=len, reverse=True))
        self.own = bool(self._literals or self._finds)

    @property
    def count(self) -> int:
        """How many secrets were hidden so far, in all threads of this process."""
        return sum(list(self._hits.values()))

    def text(self, text: str) -> str:
        """Return `text` with `MARK` in the place of every secret in it; the same object where there is none."""
        # Spelled out, for speed: every log record pays for it. Single characters are the cheapest to look for.
        low = text.lower()
        if (
            (":" in text or "=" in text or "--" in text or "<" in text or " -" in text or " is " in text)
            and (
                ("k" in low and ("key" in low or "token" in low or "cookie" in low))
                or ("p" in low and ("pass" in low or "pwd" in low))
                or ("cre" in low and ("secret" in low or "cred" in low))
                or "auth" in low
            )
            and self._has_pair(text)
        ):
            return self._redacted(text)
        if (
            ("_" in text and _after_underscore(text))
            or ("-" in text and (_after_hyphen(text) or ("gl" in text and "t-" in text) or "-us" in text))
            or ("-" in text and (("-u" in text and ":" in text) or "mysql" in text))
            or (("@" in text and ":/" in text) or (("?" in text or "&" in text) and "=" in text))
            or (
                "A" in text and ("AKIA" in text or "ASIA" in text or "AIza" in text or ":AA" in text or "ATATT" in text)
            )
            or ("J" in text and "eyJ" in text)
            or ("B" in text and ("Bearer " in text or "Basic " in text or "-----BEGIN" in text))
            or (("S" in text and ("SG." in text or "SK" in text)) or ("~" in text and "Q~" in text))
            or (("9" in text and "ya29." in text) or "hvs." in text or "dapi" in text)
            or ("'" in text and ("password '" in low or "identified by" in low))
            or (":" in text and "/" in text and "hooks" in text)
        ):
            return self._redacted(text)
        if self.own and (any(one in text for one in self._literals) or any(find(text) for find in self._finds)):
            return self._redacted(text)
        return text

    def apart(self) -> Redactor:
        """The same with a count of its own, to be asked what would be hidden."""
        made = copy(self)
        made._hits = {}  # noqa: SLF001 - of the same class
        return made

    def _has_pair(self, text: str) -> bool:
        """Tell whether a secret stands after its name in the text, which in ``tokens: 512`` none does."""
        from otel_stageio.record.secrets import pairs

        return pairs.redact(text, kind=self._kind, hide=self._hide) is not text

    def address(self, address: str) -> str:
        """Return the address of a file: users and passwords are left out of it, all other secrets are marked.

        It is one address from its beginning to its end, whatever characters are in it.
        """
        if "://" not in address:
            return self.text(address)
        from otel_stageio.record.secrets import addresses

        def change(one: str) -> str:
            bare = addresses.redact(one, self._hide, whole=True)
            if bare != one:
                self._count(bare.count(MARK) - one.count(MARK))
            return self.text(bare)

        return _settled(address, change)

    def value(self, key: str, value: Value) -> Value:
        """Return the value of an attribute: hidden as a whole where its name says so, else without the secrets in it.

        Mappings and lists are walked, keys too; a list that has flags in it is read as a command line. It is the same
        object where there is no secret.
        """
        try:
            return self._value(key, value)
        except RecursionError:  # nested deeper than anything that `record.values` makes
            self._count(1)
            return MARK

    def attributes(self, attributes: Attributes) -> Attributes:
        """Return the attributes without secrets; the same object where there is none."""
        return self._mapping(attributes)

    def command(self, arguments: Sequence[str]) -> list[str]:
        """Return the arguments of a command without secrets: those of flags, of assignments, and all others."""
        if not (
            self._hidden_names
            or _may_be_secret(" ".join(arguments).lower())
            or any(one.rpartition("/")[2] in PROGRAMS for one in arguments)
        ):
            return [self.text(one) for one in arguments]
        from otel_stageio.record.secrets import commands

        def change(texts: list[str]) -> list[str]:
            made = commands.redact(texts, kind=self._kind, hide=self._hide)
            for one, shown in zip(texts, made, strict=True):
                if one != shown:
                    self._count(1)
            return [self.text(one) for one in made]

        return _settled(list(arguments), change)

    def _value(self, key: str, value: Value) -> Value:
        level = self._kind(key)
        if level:
            from otel_stageio.record.secrets import pairs

            if pairs.is_secret(value, level, key):
                hidden = self._hide(value) if isinstance(value, str) else MARK
                if hidden != value:
                    self._count(1)
                    return hidden
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return dict(made) if (made := self._mapping(value)) is not value else value
        if isinstance(value, list):
            return self._list(value)
        if isinstance(value, bytes):
            text = value.decode("utf-8", "surrogateescape")
            clean = self.text(text)
            return value if clean is text else clean.encode("utf-8", "surrogateescape")
        return value

    def _list(self, values: list[Value]) -> list[Value]:
        made: list[Value]
        texts = [one for one in values if isinstance(one, str)]
        if len(texts) == len(values) and any(one.startswith("-") for one in texts):
            made = [*self.command(texts)]
        else:
            made = [self._value("", one) for one in values]
        changed = any(after is not before for before, after in zip(values, made, strict=True))
        return made if changed else values

    def _mapping(self, mapping: Attributes) -> Attributes:
        # A variable as Kubernetes and others spell it: its name is a value.
        named = mapping.get("name") if "value" in mapping else None
        made: dict[str, Value] = {}
        changed = False
        for key, value in mapping.items():
            shown = key if key in self._clean_keys else self._clean_key(key)
            name = self.text(named) if key == "value" and isinstance(named, str) else shown
            if type(value) is str and self._kinds.get(name) == 0:  # the common case, without further calls
                clean: Value = self.text(value)
            else:
                clean = self.value(name, value)
            if shown is not key or clean is not value:
                changed = True
            if shown in made:
                shown = _apart(shown, made)
            made[shown] = clean
        return made if changed else mapping

    def _clean_key(self, key: str) -> str:
        clean = self.text(key)
        if clean is key and len(self._clean_keys) < _MOST_NAMES and len(key) < _LONGEST_NAME:
            self._clean_keys.add(key)
        return clean

    def _kind(self, name: str) -> int:
        """What the name says of its value, as `names` has it; 0 for nothing."""
        known = self._kinds.get(name)
        if known is None:
            known = self._kind_of(name)
            if len(self._kinds) < _MOST_NAMES and len(name) < _LONGEST_NAME:
                self._kinds[name] = known
        return known

    def _kind_of(self, name: str) -> int:
        suspect = _may_be_secret(name.lower())
        if not suspect and not self._hidden_names:
            return 0
        from otel_stageio.record.secrets import names

        bare = name.strip("-.")
        said = (bare, bare.rpartition(".")[2])
        if any(pattern.fullmatch(one) for pattern in self._open_names for one in said):
            return names.OPEN
        if any(pattern.fullmatch(one) for pattern in self._hidden_names for one in said):
            return names.EVERYTHING
        return names.kind(name) if suspect else names.OPEN

    def _known(self, environ: Mapping[str, str]) -> set[str]:
        """The secrets of the environment; none that a mark could be part of, or a part of a mark."""
        of_interest = {
            name: value
            for name, value in environ.items()
            if self._hidden_names or _may_be_secret(name.lower()) or name.endswith("_HEADERS") or "://" in value
        }
        if not of_interest:
            return set()
        from otel_stageio.record.secrets import variables

        found = variables.literals(of_interest, self._kind)
        return {one for one in found if one not in MARK and MARK not in one and self._hide(one) == MARK}

    def _hide(self, secret: str) -> str:
        if any(pattern.fullmatch(secret) for pattern in self._open_texts):
            return secret
        return MARK

    def _count(self, secrets: int) -> None:
        thread = get_ident()
        self._hits[thread] = self._hits.get(thread, 0) + max(secrets, 1)

    def _redacted(self, text: str) -> str:
        from otel_stageio.record.secrets import texts

        asked = texts.Asked(
            literals=self._literals,
            texts=self._hidden_texts,
            all_names=bool(self._hidden_names),
            kind=self._kind,
            hide=self._hide,
            mark=MARK,
        )
        clean = _settled(text, lambda one: texts.redact(one, asked))
        if clean == text:
            return text
        self._count(clean.count(MARK) - text.count(MARK))
        return clean


def _may_be_secret(low: str) -> bool:
    """Tell whether a text in lower case has what every secret name has in it: spelled out, for speed."""
    return (
        "key" in low
        or "pass" in low
        or "auth" in low
        or "token" in low
        or "secret" in low
        or "cred" in low
        or "pwd" in low
        or "cookie" in low
        or "jwt" in low
        or "sas" in low
        or "sig" in low
        or "bearer" in low
        or "sess" in low
        or "conn" in low
        or "otp" in low
    )


def _patterns(patterns: tuple[str, ...]) -> _Patterns:
    if not patterns:
        return (), (), (), ()
    from otel_stageio.record.secrets.patterns import sorted_out

    return sorted_out(patterns)


def _settled(given: _Given, change: Callable[[_Given], _Given]) -> _Given:
    """Change what is given until there is nothing more to change."""
    for _ in range(_MOST_PASSES):
        made = change(given)
        if made == given:
            break
        given = made
    return given


def _apart(key: str, taken: Mapping[str, Value]) -> str:
    """A key with a number behind it, for two keys became the same."""
    number = 2
    while (apart := f"{key} ({number})") in taken:
        number += 1
    return apart
