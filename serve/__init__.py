"""Scoring: a bundle and rows in, scored rows out. Needs neither torch nor transformers."""

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from serve.scorer import Scorer

__all__ = ["Scorer"]

# From 1.31 on ONNX Runtime tells Microsoft of its sessions, and keeps an id in the user's home, unless this is set
# before it is imported. Whoever wants it sets 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def __getattr__(name: str) -> Any:
    """Import `Scorer` on first use: `import serve` itself costs nothing."""
    if name == "Scorer":
        from serve.scorer import Scorer

        return Scorer
    raise AttributeError(f"module 'serve' has no attribute {name!r}")
