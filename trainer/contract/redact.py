"""URLs as they may be shown: the passwords and signatures in them must not stand in reports, logs and messages."""

import re

_SCHEME = r"[A-Za-z][A-Za-z0-9+.-]*://"
# Up to a blank or a quote, or the next link of a chain (zip://a::https://b).
_URL = re.compile(rf"({_SCHEME})((?:(?!::{_SCHEME})[^\s'\"<>|])*)")
_HIDDEN = "***"


def redacted(text: str) -> str:
    """A text (an address, or a library's message) with the secret pieces of every URL in it hidden."""
    return _URL.sub(lambda found: found[1] + _hide(found[1].lower(), found[2]), text)


def _hide(scheme: str, rest: str) -> str:
    place, mark, query = rest.partition("?")
    authority, slash, path = place.partition("/")
    user, at, host = authority.rpartition("@")
    # `container@account` of Azure and `user@host` are no secrets; a web address has no user but for a token.
    if at and (":" in user or scheme in ("http://", "https://")):
        authority = f"{_HIDDEN}@{host}"
    # A question mark without an assignment is a glob's.
    return authority + slash + path + mark + (_HIDDEN if "=" in query else query)
