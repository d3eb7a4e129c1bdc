"""Versions as they are noted, also where there is none to be had."""

import importlib.metadata

import pytest

from trainer.contract.system.installed import NOT_INSTALLED, installed_version, installed_versions, own_version


def test_what_is_not_installed_has_no_version() -> None:
    """One name gives None, several give those that are there."""
    assert installed_version("no-such-distribution") is None
    assert installed_versions(["numpy", "no-such-distribution"]) == {"numpy": importlib.metadata.version("numpy")}


def test_a_checkout_says_that_it_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Our own version is always a text."""
    assert own_version() == importlib.metadata.version("classifact")
    uninstall(monkeypatch)
    assert own_version() == NOT_INSTALLED


def uninstall(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make Classifact run from a checkout that nobody installed: importlib knows no distribution of that name."""
    real = importlib.metadata.version

    def version(name: str) -> str:
        if name == "classifact":
            raise importlib.metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
