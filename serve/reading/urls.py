"""URLs by fsspec: opened, listed, and asked whether they changed."""

import contextlib
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any, BinaryIO, cast
from urllib.parse import urlsplit

from trainer.contract.errors import ClassifactError, InputError
from trainer.contract.text_files.formats import holds_rows, is_hidden, split_suffixes


def url_system(name: str) -> Any:
    """The file system of a URL, and the path in it. Raises InputError where there is no driver for it."""
    try:
        import fsspec
    except ImportError:
        raise InputError(
            "a URL needs fsspec", where=name, do="pip install 'classifact[s3]' (or gcs, azure, remote)"
        ) from None
    try:
        return fsspec.core.url_to_fs(name)
    # Each file system has its own errors: a missing driver is an ImportError, a bad URL a ValueError.
    except (ImportError, ValueError) as error:
        raise InputError(
            "the URL cannot be opened", where=name, found=str(error), do="install what it names, or mend the URL"
        ) from None


@contextlib.contextmanager
def url_errors(name: str) -> Iterator[None]:
    """Raise InputError, naming the URL, for whatever its file system raises: no base is shared but Exception."""
    try:
        yield
    except ClassifactError:
        raise
    except Exception as error:
        raise InputError(
            "the URL cannot be opened",
            where=name,
            found=f"{type(error).__name__}: {error}"[:300],
            do="check the address, the credentials and the network",
        ) from error


def open_url(name: str) -> BinaryIO:
    """The bytes at a URL. Raises InputError where it cannot be opened."""
    system, path = url_system(name)
    with url_errors(name):
        return cast("BinaryIO", system.open(path, "rb"))


def url_state(name: str) -> tuple[int | None, str]:
    """The size, and what the file system says that changes with the content."""
    system, path = url_system(name)
    # A change must be seen, and fsspec answers from memory.
    system.invalidate_cache()
    with url_errors(name):
        return system.info(path).get("size"), str(system.ukey(path))


def file_name(name: str) -> str:
    """The path that ends in the file's suffixes; of a web address what stands before its query (a signature, say)."""
    return urlsplit(name).path if name.startswith(("http://", "https://")) else name


def side_bases(name: str) -> list[str]:
    """The outputs beside which a file of that name would be the report or the side file."""
    return [name.removesuffix(side) for side in (".errors.jsonl", ".report.json") if name.endswith(side)]


def expand_url(given: str) -> tuple[list[str], list[str]]:
    """What a URL names, sorted: a file, a folder's files or the matches of a pattern; and what is left out of them."""
    web = given.startswith(("http://", "https://"))
    if file_name(given) != given or (web and split_suffixes(given)[0]):
        # A web server lists nothing, and the query of an address is no pattern.
        return [given], []
    system, path = url_system(given)
    with url_errors(given):
        return _listed(given, system, path)


def _listed(given: str, system: Any, path: str) -> tuple[list[str], list[str]]:
    if any(character in path for character in "*?["):
        listed = sorted(name for name, item in system.glob(path, detail=True).items() if item["type"] == "file")
        root = ""
        found, asked = listed, path
    elif system.isdir(path):
        listed, root, asked = sorted(system.find(path)), path.rstrip("/") + "/", ""
        found = [item for item in listed if split_suffixes(item)[0] is not None]
    else:
        return [given], []
    # Asked of the listing that is here: a call for each of 10,000 objects would take minutes.
    there = set(listed)
    out = {
        item
        for item in found
        if is_hidden(PurePosixPath(item.removeprefix(root).lstrip("/")), asked)
        or (root and not holds_rows(item))
        or f"{item}.report.json" in there
        or there & set(side_bases(item))
    }
    kept = [str(system.unstrip_protocol(item)) for item in found if item not in out]
    if not kept:
        raise InputError("there is no such input", where=given, do="check the address; quote a glob")
    return kept, sorted(out)
