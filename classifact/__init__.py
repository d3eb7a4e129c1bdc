"""Classifact's public Python interface: the scorer, and the version that is installed."""

import importlib.metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from serve.scorer import Scorer

    __version__: str

__all__ = ["Scorer", "__version__"]


def __getattr__(name: str) -> Any:
    """Look up `Scorer` and `__version__` on first use: `import classifact` itself costs nothing."""
    if name == "__version__":
        try:
            return importlib.metadata.version("classifact")
        # A checkout that nobody installed; nothing else of ours is asked, since a user's `trainer` may be loaded.
        except importlib.metadata.PackageNotFoundError:
            raise AttributeError("classifact is not installed, so it has no version") from None
    if name == "Scorer":
        from classifact.own_packages import use_own

        use_own()
        from serve.scorer import Scorer

        return Scorer
    raise AttributeError(f"module 'classifact' has no attribute {name!r}")
