"""Which versions are installed, as reports, bundles and runs note them."""

from collections.abc import Iterable

# What is noted of Classifact where it runs from a checkout that nobody installed.
NOT_INSTALLED = "not installed"


def installed_version(name: str) -> str | None:
    """The version of an installed distribution, such as "onnxruntime"; None where none has that name."""
    # It draws in mail, archives and sockets, and most who import this file never ask.
    import importlib.metadata  # noqa: PLC0415

    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def installed_versions(names: Iterable[str]) -> dict[str, str]:
    """Name to version, of those distributions that are installed."""
    found = {name: installed_version(name) for name in names}
    return {name: version for name, version in found.items() if version is not None}


def own_version() -> str:
    """Classifact's version, or NOT_INSTALLED."""
    return installed_version("classifact") or NOT_INSTALLED
