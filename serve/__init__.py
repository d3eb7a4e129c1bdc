"""Scoring: a bundle and rows in, scored rows out. Needs neither torch nor transformers."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from serve.scorer import Scorer

__all__ = ["Scorer"]


def __getattr__(name: str) -> Any:
    """Import `Scorer` on first use: `import serve` itself costs nothing."""
    if name == "Scorer":
        from serve.scorer import Scorer

        return Scorer
    raise AttributeError(f"module 'serve' has no attribute {name!r}")
