"""What must not be shown elsewhere: passwords and signatures in URLs, and the folders that a file lies in at home."""

import re
from collections.abc import Iterable
from pathlib import PurePosixPath

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


def file_names(paths: Iterable[str]) -> dict[str, str]:
    """A name for each file that may leave the machine: the end of its path, as short as tells it from the others.

    What is no absolute path (a data set of a hub) keeps its name.
    """
    ends = {path: PurePosixPath(path).parts[1:] or (path,) for path in paths if path.startswith("/")}
    names = {path: path for path in paths} | {path: parts[-1] for path, parts in ends.items()}
    for length in range(2, max(map(len, ends.values()), default=0) + 1):
        known = list(names.values())
        alike = [path for path in ends if known.count(names[path]) > 1]
        names |= {path: "/".join(ends[path][-length:]) for path in alike}
    return names
