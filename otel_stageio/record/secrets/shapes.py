"""Secrets that are known by their shape alone: issued tokens, private keys, and what follows ``Bearer`` and ``Basic``.

The shapes are those that the issuers publish: a prefix nobody else uses, and a length. A digest, a commit or a uuid has
none. All functions are pure, and take time in proportion to the text.
"""

from __future__ import annotations

import binascii
import re
from functools import cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

#: `Redactor.text` looks for what each has in it: a change here may need one there.
_TOKENS: Final = (
    r"A(?:KIA|SIA)[A-Z0-9]{16}(?![A-Za-z0-9])",  # AWS access keys
    r"ATATT3[\w=-]{28,}",  # Atlassian
    r"AIza[\w-]{30,}",  # Google API keys
    r"AGE-SECRET-KEY-1[A-Z0-9]{28,}",
    r"GOCSPX-[\w-]{28,}",  # Google OAuth client secrets
    r"SG\.[\w-]{16,}\.[\w-]{16,}",  # SendGrid
    r"SK[0-9a-f]{32}(?![A-Za-z0-9])",  # Twilio
    r"dapi[0-9a-f]{32}(?:-[0-9])?(?![A-Za-z0-9])",  # Databricks
    r"dckr_[op]at_[\w-]{20,}",  # Docker
    r"do[opr]_v1_[0-9a-f]{32,}",  # DigitalOcean
    r"eyJ[\w-]{8,500}\.[\w-]{8,}(?:\.[\w-]*){0,3}",  # JSON web tokens
    r"gh[opsur]_[A-Za-z0-9]{16,}",
    r"github_pat_[A-Za-z0-9]{16,}\w*",
    r"gl(?:pat|dt|rt|cbt|ptt|ft|soat|imt|agent)-[\w-]{20,}",  # GitLab
    r"glsa_[A-Za-z0-9]{16,}\w*",  # Grafana
    r"gsk_[A-Za-z0-9]{16,}",  # Groq
    r"hf_[A-Za-z0-9]{16,}",  # Hugging Face
    r"hv[sb]\.[\w-]{24,}",  # Vault
    r"key-[0-9a-f]{32}(?![A-Za-z0-9])",  # Mailgun
    r"lin_api_[A-Za-z0-9]{16,}",  # Linear
    r"lsv2_(?:pt|sk)_[0-9a-f]{16,}\w*",  # LangSmith
    r"[0-9a-f]{32}-us[0-9]{1,2}(?![A-Za-z0-9])",  # Mailchimp
    r"npm_[A-Za-z0-9]{16,}",
    r"ntn_[A-Za-z0-9]{16,}",  # Notion
    r"PMAK-[0-9a-f]{24}-[0-9a-f]{34}",  # Postman
    r"pplx-[A-Za-z0-9]{28,}",  # Perplexity
    r"pul-[0-9a-f]{40}",  # Pulumi
    r"pypi-[\w-]{28,}",
    r"r8_[A-Za-z0-9]{16,}",  # Replicate
    r"[rs]k_(?:live|test|prod)_[A-Za-z0-9]{16,}",  # Stripe
    r"shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}",  # Shopify
    r"sk-(?:[A-Za-z0-9]{28,}|(?:ant|proj|svcacct|admin|service|or)-[\w-]{25,})",  # OpenAI, Anthropic, OpenRouter
    r"sntry[su]_[A-Za-z0-9+/=_]{32,}",  # Sentry
    r"sq0csp-[\w-]{28,}",  # Square
    r"whsec_[A-Za-z0-9]{16,}[A-Za-z0-9+/=]*",  # Stripe's webhooks
    r"wandb_v1_\w{28,}",
    r"xai-[A-Za-z0-9]{28,}",
    r"xapp-[A-Za-z0-9-]{28,}",  # Slack
    r"xox[abeoprs]-[A-Za-z0-9-]{28,}",  # Slack
    r"ya29\.[\w-]{20,}",  # Google OAuth access
    r"[\w~.-]{3}[0-9]Q~[\w~.-]{31,34}",  # Azure client secrets
)
_TOKEN: Final = rf"(?<![A-Za-z0-9])(?:{'|'.join(_TOKENS)})"
#: What stands before the secret stays, being group 1.
_AFTER: Final = (
    r"(:)(?<=[0-9]{6}:)AA[\w-]{30,}",  # Telegram: the bot's number before the colon is public
    r"(hooks\.slack\.com/(?:services|workflows)/)[\w/-]{20,}",
    r"(discord(?:app)?\.com/api/webhooks/[0-9]{1,30}/)[\w-]{20,}",
    r"(?i:(identified by\s{1,8}['\"]|\bpassword ['\"]))[^'\"\s]+(?=['\"])",  # SQL
    r"(\bmysql(?:dump|admin)?\s(?:[^\n|;]{0,200}\s)?-p)[^\s'\"]+",
    r"([?&]sig=)[\w%/+=.-]{16,}",  # Azure
)
_SCHEMES: Final = r"(?i:\b(bearer|basic)\s{1,8})([\w.~+/=-]{8,})"
#: To its end, or, where that was cut off, as far as there are base64, headers and line breaks, also as escapes.
_PRIVATE_KEY: Final = (
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
    r"[A-Za-z0-9+/=\s\\:,.()|]*(?:-(?!----)[A-Za-z0-9+/=\s\\:,.()|]*)*"  # | before the lines of an exception group
    r"(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----)?"
)
#: So long is no word.
_LONG: Final = 20


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


def redact(text: str, hide: Callable[[str], str]) -> str:
    """Replace every token of a known shape in `text` by what `hide` gives for it."""
    if "PRIVATE KEY" in text:
        text = _compiled(_PRIVATE_KEY).sub(lambda found: hide(found[0]), text)
    text = _compiled(_TOKEN).sub(lambda found: hide(found[0]), text)
    for pattern in _AFTER:
        text = _compiled(pattern).sub(lambda found: found[1] + hide(found[0][len(found[1]) :]), text)
    low = text.lower()
    if "earer" in low or "basic" in low:
        text = _compiled(_SCHEMES).sub(lambda found: _credentials(found, hide), text)
    return text


def _credentials(found: re.Match[str], hide: Callable[[str], str]) -> str:
    """Hide what follows the scheme, where it is no prose, such as "basic functionality" or "bearer authentication"."""
    scheme, credentials = found[1], found[2]
    if scheme.lower() == "basic":
        secret = _is_pair(credentials)
    else:
        word = credentials.rstrip(".")
        secret = not (word.isalpha() and word[1:].islower() and len(word) < _LONG)
    return found[0][: -len(credentials)] + hide(credentials) if secret else found[0]


def _is_pair(encoded: str) -> bool:
    """Tell whether base64 text holds ``user:password``."""
    try:
        return b":" in binascii.a2b_base64(encoded + "==")
    except ValueError:
        return False
