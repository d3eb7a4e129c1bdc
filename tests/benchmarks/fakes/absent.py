"""A tool that cannot be installed: its package is a file that is not there."""

from typing import Any

from benchmarks.peers.contestant import Variant
from benchmarks.peers.talk import Request, label

NEEDS = ("./no/such/package.whl",)
VARIANTS = (Variant(name="absent"),)


def load(settings: Request) -> Any:
    """Never reached."""
    raise NotImplementedError


if __name__ == "__main__":
    label(load, ())
