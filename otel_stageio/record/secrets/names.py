"""Which names say that a secret stands under them: of mapping keys, variables, flags, headers and query parameters.

A name is read as words: ``dbPassword``, ``DB_PASSWORD`` and ``db-password`` are the same, and ``author``, ``keyboard``
and ``tokenizer`` are words of their own. A secret word counts at the name's end, where the thing is named:
``token_count`` and ``password_file`` are about secrets, and are none. The words are those that OWASP's logging advice
and the common scanners look for; what tells a tokenizer's tokens from credentials is this package's.

All functions are pure.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Final

#: What a name says of its value: nothing; that text is a secret, but a number is not (``token``); that both are
#: (``password``); that everything is, since the user said so.
OPEN: Final = 0
TEXT: Final = 1
NUMBERS: Final = 2
EVERYTHING: Final = 3

#: Every secret name that is looked for in text has one of these in it, in lower case.
PARTS: Final = ("pass", "key", "token", "secret", "auth", "cred", "pwd", "cookie")
_LONGEST: Final = 128

_WORDS: Final = r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+"
_ESCAPED: Final = r"%([0-9A-Fa-f]{2})"

_STRONG: Final = frozenset(
    {
        *("password", "passwd", "passphrase", "passcode", "passwort", "pwd", "passwords", "passphrases"),
        *("secret", "secrets", "apikey", "apikeys", "accesskey", "accountkey", "secretkey", "privatekey", "sharedkey"),
        *("accesstoken", "authtoken", "refreshtoken", "connectionstring", "connstr", "otp"),
    }
)
_STRONG_ENDS: Final = ("password", "passwd", "passphrase", "passwort", "secret", "apikey")
#: At the end of a name only.
_WEAK: Final = frozenset(
    {
        *("token", "credential", "credentials", "cred", "creds", "auth", "authorization", "jwt", "bearer", "sas"),
        *("cookie", "cookies", "sig", "sessionid", "jsessionid", "phpsessid", "sessid"),
    }
)
#: Kinds of key that open something. A cache, sort, primary or public key does not.
_KEYS: Final = frozenset(
    {
        *("api", "access", "account", "private", "secret", "shared", "signing", "subscription", "encryption", "master"),
        *("decryption", "authentication", "auth", "security", "application", "app", "consumer", "functions", "admin"),
        *("license", "aes", "hmac", "crypt", "cipher", "session", "deploy", "wandb", "kaggle", "openai", "anthropic"),
        *("comet", "neptune", "hf", "huggingface", "github", "gitlab", "aws", "azure", "gcp", "google", "stripe"),
        *("sendgrid", "twilio", "mailgun", "slack", "telegram", "datadog", "dd"),
    }
)
_PAIRS: Final = frozenset(
    {("pass", "word"), ("pass", "phrase"), ("pass", "code"), ("pass", "wd"), ("connection", "string"), ("conn", "str")}
    | {(kind, "key") for kind in _KEYS}
    | {(kind, "keys") for kind in _KEYS}
)
#: The tokens, of many, that open something; a bare ``tokens`` are those of a text.
_OPENING_TOKENS: Final = frozenset(
    {"api", "access", "auth", "refresh", "bearer", "session", "security", "secret", "oauth", "personal", "service"}
)
#: The tokens of a tokenizer and of a paged listing.
_PLAIN_TOKENS: Final = frozenset(
    {
        *(
            "pad",
            "eos",
            "bos",
            "unk",
            "sep",
            "cls",
            "mask",
            "start",
            "end",
            "stop",
            "begin",
            "special",
            "blank",
            "space",
        ),
        *("next", "prev", "previous", "first", "last", "top", "current", "predicted", "page", "continuation"),
        *("image", "audio", "speech", "text", "video", "speaker", "word", "sub", "subword", "lang", "language", "task"),
        *("decoder", "encoder", "input", "output", "prompt", "source", "target", "src", "tgt", "timestamp", "silence"),
        *("noise", "separator", "delimiter", "per", "raw"),
    }
)
_USERS: Final = frozenset(
    {
        "db",
        "user",
        "smtp",
        "ftp",
        "sftp",
        "mail",
        "email",
        "mysql",
        "pg",
        "root",
        "admin",
        "login",
        "ssh",
        "proxy",
        "redis",
    }
)
#: A last word that makes the name one about a secret.
_ABOUT: Final = frozenset(
    {
        *("file", "files", "filename", "path", "paths", "dir", "folder", "name", "names", "count", "counts", "type"),
        *("types", "kind", "length", "len", "size", "limit", "limits", "url", "uri", "endpoint", "expires", "expiry"),
        *("expiration", "expired", "ttl", "age", "version", "method", "mode", "policy", "rotation", "field", "column"),
        *("id", "ids", "index", "idx", "num", "number", "rate", "usage", "used", "required", "enabled", "disabled"),
        *("valid", "verified", "present", "set", "missing", "exists", "strategy", "format", "algorithm", "alg"),
        *("provider", "source", "env", "var", "arn", "ref", "hint", "prompt", "position", "embedding", "embeddings"),
    }
)
#: Last words that change nothing: the secret is named before them.
_PLAIN_ENDS: Final = frozenset(
    {
        *(
            "value",
            "header",
            "headers",
            "data",
            "old",
            "new",
            "prod",
            "production",
            "dev",
            "test",
            "staging",
            "default",
        ),
        *("hash", "encoded", "encrypted", "plain", "plaintext", "base", "pem"),
    }
)
#: Words of a query parameter's name that make its value a secret, wherever they stand, and those that do in pairs.
_PARAMETER: Final = _WEAK | _STRONG | {"signature", "pass", "secretkey"}
_PARAMETER_PAIRS: Final = _PAIRS | {("session", "id"), ("access", "id")}
#: How the flag begins that asks for a secret, or forgoes it, and takes none.
_SWITCHES: Final = frozenset({"no", "use", "with", "without", "has", "is", "show", "allow", "require", "skip", "ask"})


def words(name: str) -> list[str]:
    """Return the words of a name, in lower case and without digits."""
    return [word.lower() for word in re.findall(_WORDS, name[-_LONGEST:])]


def kind(name: str) -> int:
    """Tell what a name says of its value: `OPEN`, `TEXT` or `NUMBERS`."""
    found = words(name)
    while len(found) > 1 and found[-1] in _PLAIN_ENDS:
        found.pop()
    if not found:
        return OPEN
    last, before = found[-1], found[-2] if len(found) > 1 else ""
    if last in _ABOUT:
        return NUMBERS if (before, last) == ("secret", "id") else OPEN
    if any(one in _STRONG or one.endswith(_STRONG_ENDS) for one in found) or not _PAIRS.isdisjoint(pairwise(found)):
        return TEXT if last.endswith("s") and not last.endswith("ss") else NUMBERS
    return TEXT if _is_weak(last, before) else OPEN


def _is_weak(last: str, before: str) -> bool:
    """Tell whether a name is secret that ends in these two words, of which the first may be none."""
    if last == "token":
        return before not in _PLAIN_TOKENS
    if last == "tokens":
        return before in _OPENING_TOKENS
    if last == "signature":
        return before in ("amz", "goog", "access")
    if last == "pass":
        return not before or before in _USERS
    return last in _WEAK


def is_parameter(name: str) -> bool:
    """Tell whether the query parameter `name`, percent-encoded or not, has a secret for its value.

    Stricter than `kind`: what stands in an address is hardly ever a count or the key of a table.
    """
    if "%" in name:
        name = unquoted(name)
    found = words(name)
    if name.lower() == "key" or not _PARAMETER_PAIRS.isdisjoint(pairwise(found)):
        return True
    return not _PARAMETER.isdisjoint(found) or any(word.endswith(_STRONG_ENDS) for word in found)


def is_switch(name: str) -> bool:
    """Tell whether a flag is one that takes no value, such as ``--no-password``."""
    found = words(name)
    return bool(found) and found[0] in _SWITCHES


def unquoted(text: str) -> str:
    """Undo percent-encoding; bytes beyond ASCII become characters of Latin-1."""
    return re.sub(_ESCAPED, lambda found: chr(int(found[1], 16)), text)
