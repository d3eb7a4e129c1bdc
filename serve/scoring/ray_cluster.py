"""The connection to a Ray cluster: begun and ended so that it neither chats, nor hangs, nor ends us."""

import contextlib
import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from typing import Any

import ray

from trainer.contract.errors import InputError


@contextlib.contextmanager
def connected(where: str, *, processors: int) -> Iterator[None]:
    """Connect to a cluster ("host:port", "auto", "ray://..."), or start one ("local") of so many processors.

    Raises InputError where it does not answer.
    """
    # Nobody asked for figures to be sent anywhere.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Ray's own words about its plans; what goes wrong is raised.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    if ray.is_initialized():
        # The program that called us is connected already, and stays so.
        yield
        return
    own: dict[str, Any] = {"num_cpus": processors, "include_dashboard": False} if where == "local" else {}
    handler = signal.getsignal(signal.SIGTERM)
    try:
        _knock(where)
        ray.init(address=where, logging_level=logging.ERROR, log_to_driver=False, **own)
    except (OSError, ValueError) as error:
        raise InputError(
            "the Ray cluster cannot be reached",
            where=where,
            found=str(error)[:300],
            do="check --ray-address (or RAY_ADDRESS), and that `ray status` answers there",
        ) from None
    if threading.current_thread() is threading.main_thread():
        # Ray's handler would end us without a word.
        signal.signal(signal.SIGTERM, handler)
    threads = set(threading.enumerate())
    try:
        yield
    finally:
        # Ray ends the whole process, without a word, where a thread of its own still asks for a block after this.
        for thread in set(threading.enumerate()) - threads:
            thread.join(timeout=0.5)
        ray.shutdown()


def _knock(where: str) -> None:
    """Raise OSError where nobody answers at a "host:port": Ray itself tries for minutes."""
    host, _, port = where.rpartition(":")
    if host and port.isdecimal() and "/" not in host:
        socket.create_connection((host, int(port)), timeout=5).close()
