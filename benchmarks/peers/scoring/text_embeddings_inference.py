"""text-embeddings-inference: a server in Rust that its authors ship as a container and as source, not as a package."""

from typing import Any

from benchmarks.peers.contestant import Variant
from benchmarks.peers.talk import Request, label

NEEDS = ("text-embeddings-inference",)
VARIANTS = (Variant(name="text-embeddings-inference", precision="fp32"),)


def load(settings: Request) -> Any:
    """Never reached as long as no registry has it: `NEEDS` says so each time it is tried."""
    raise NotImplementedError("text-embeddings-inference is installable now: write how it is called")


if __name__ == "__main__":
    label(load, ())
