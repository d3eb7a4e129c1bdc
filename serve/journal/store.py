"""The objects below one URL: read, put, listed; tried again a few times, and every library's error in our form."""

import contextlib
import functools
import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from serve.reading.urls import url_system
from trainer.contract.errors import ArtifactError, ClassifactError
from trainer.contract.redact import redacted
from trainer.contract.system.files import finite, json_bytes

T = TypeVar("T")
TRIES = 5
_LONGEST_WAIT = 20.0
# What a second try does not mend: the answer is no, or the call is wrong.
_FINAL = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError, NotImplementedError, TypeError)
_OBJECT_STORES = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oci", "oss", "r2"})
_log = logging.getLogger("classifact.store")


class Store:
    """The objects below a URL. url: as it may be shown, without a password or signature.

    Raises InputError where the URL's file system cannot be had, ClassifactError where it refuses for good.
    """

    def __init__(self, url: str) -> None:
        self.url = redacted(url.rstrip("/"))
        self._system, self._path = url_system(url.rstrip("/"))

    def names(self) -> dict[str, int]:
        """Every object's name, from the URL on, and its bytes."""
        # fsspec remembers listings, and other machines put objects meanwhile.
        self._system.invalidate_cache()
        if not self._call("looked for", "", self._system.exists, self._path):
            return {}
        found = self._call("listed", "", functools.partial(self._system.find, self._path, detail=True))
        root = self._path.rstrip("/") + "/"
        return {name.removeprefix(root): int(about["size"]) for name, about in found.items() if name.startswith(root)}

    def read(self, name: str) -> dict[str, Any] | None:
        """An object's JSON, or None where there is none. Raises ArtifactError where it is something else."""
        self._system.invalidate_cache()
        path = f"{self._path}/{name}"
        if not self._call("looked for", name, self._system.exists, path):
            return None
        try:
            found = json.loads(self._call("read", name, self._system.cat_file, path))
        except ValueError as error:
            raise ArtifactError(
                f"{name} is not JSON", where=self.url, found=str(error), do="remove the folder, and begin anew"
            ) from None
        return found if isinstance(found, dict) else None

    def write(self, name: str, content: Mapping[str, object]) -> None:
        """Put JSON."""
        self._prepare(name)
        data = json_bytes(finite(content), indent=2)
        # In one call, which a store takes whole or not at all.
        self._call("put", name, self._system.pipe_file, f"{self._path}/{name}", data)

    def put(self, file: Path, name: str) -> None:
        """Put a file."""
        self._prepare(name)
        self._call("put", name, self._system.put_file, str(file), f"{self._path}/{name}")

    def remove(self, name: str) -> None:
        """Delete an object. One that is gone already was taken away by another machine at the same job."""

        def gone(path: str) -> None:
            """Delete an object, if it is there."""
            with contextlib.suppress(FileNotFoundError):
                self._system.rm_file(path)

        self._call("removed", name, gone, f"{self._path}/{name}")

    def _prepare(self, name: str) -> None:
        """Make a file's folder, where the store has any; an object store would make a bucket of a misspelt name."""
        protocols = self._system.protocol
        if _OBJECT_STORES & ({protocols} if isinstance(protocols, str) else set(protocols)):
            return
        folder = f"{self._path}/{name}".rpartition("/")[0]
        self._call("made", "", functools.partial(self._system.makedirs, folder, exist_ok=True))

    def _call(self, done: str, name: str, function: Callable[..., T], *arguments: object) -> T:
        """Call the file system, TRIES times at most, with growing, random waits between (tenacity)."""
        from tenacity import RetryCallState, Retrying, retry_if_not_exception_type, stop_after_attempt
        from tenacity.wait import wait_random_exponential

        def tell(state: RetryCallState) -> None:
            """Say that a call failed, and when it is tried again."""
            error = state.outcome.exception() if state.outcome else None
            wait = state.next_action.sleep if state.next_action else 0.0
            _log.warning(
                "%s/%s could not be %s (%s): try %d of %d in %.1f s",
                *(self.url, name, done, _said(error), state.attempt_number + 1, TRIES, wait),
            )

        tries = Retrying(
            stop=stop_after_attempt(TRIES),
            wait=wait_random_exponential(multiplier=0.5, max=_LONGEST_WAIT),
            retry=retry_if_not_exception_type((*_FINAL, KeyboardInterrupt, SystemExit)),
            before_sleep=tell,
            reraise=True,
        )
        try:
            return tries(function, *arguments)
        # Each file system has errors of its own, which share no base but this one.
        except Exception as error:
            raise ClassifactError(
                f"an object could not be {done}",
                where=f"{self.url}/{name}".rstrip("/"),
                found=_said(error),
                do="check the address, the credentials and the network; then the same command with --resume goes on",
            ) from error


def _said(error: BaseException | None) -> str:
    """An error's class and first words, without secrets."""
    return redacted(f"{type(error).__name__}: {error}")[:300]
