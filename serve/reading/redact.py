"""URLs as they may be shown: the passwords and signatures in them must not stand in reports, logs and messages."""

import re

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^\s'\"<>|]*)")
_HIDDEN = "***"


def redacted(text: str) -> str:
    """A text (an address, or a library's message) with the secret pieces of every URL in it hidden."""
    return _URL.sub(lambda found: f"{found[1]}://{_hide(found[1].lower(), found[2])}", text)


def _hide(scheme: str, rest: str) -> str:
    place, mark, query = rest.partition("?")
    authority, slash, path = place.partition("/")
    user, at, host = authority.rpartition("@")
    # `container@account` of Azure and `user@host` are no secrets; a web address has no user but for a token.
    if at and (":" in user or scheme in ("http", "https")):
        authority = f"{_HIDDEN}@{host}"
    # A question mark without an assignment is a glob's.
    return authority + slash + path + mark + (_HIDDEN if "=" in query else query)
