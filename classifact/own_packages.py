"""Classifact's packages under their own names, whatever else on this machine is called `trainer`, `export` or `serve`.

Those names are others' too. A user's trainer.py in the working directory comes before ours under `python -m`, and two
packages of the registry install a `trainer` of their own. Standard library only: nothing of ours can be imported yet.
"""

import base64
import hashlib
import importlib.metadata
import os
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

PACKAGES = ("classifact", "trainer", "export", "serve")
HOME = Path(__file__).resolve().parent.parent


class OwnPackages(MetaPathFinder):
    """Finds our packages beside this one, and nothing else."""

    def find_spec(self, name: str, *_: object) -> ModuleSpec | None:
        """The package in our folder, before anything on sys.path is asked."""
        return PathFinder.find_spec(name, [str(HOME)]) if name in PACKAGES else None


def use_own() -> None:
    """Make imports find our packages in this process. Raises ImportError where another of that name is loaded."""
    if not any(isinstance(finder, OwnPackages) for finder in sys.meta_path):
        # Before all others, and for four names alone: every other import goes the usual way.
        sys.meta_path.insert(0, OwnPackages())
    for name in PACKAGES:
        loaded = getattr(sys.modules.get(name), "__file__", None)
        if loaded is not None and not _ours(name, loaded):
            raise ImportError(f"{loaded} is loaded under the name of Classifact's package {name!r}; import it first")


def require_own_packages() -> None:
    """End the process with a plain error where an import of one of our packages would find something else."""
    lines = [f"  {found} stands in for Classifact's package {name!r}" for name, found in shadows(sys.path).items()]
    if lines:
        print("\n".join(["error: Classifact's own packages cannot be found", *lines]), file=sys.stderr)
        print("  do:       use the command `classifact`, or rename that file, or start elsewhere", file=sys.stderr)
        sys.exit(1)


def shadows(path: list[str]) -> dict[str, str]:
    """Name to file, for each of our packages that an import along `path` finds elsewhere."""
    found = {}
    for name in PACKAGES:
        spec = PathFinder.find_spec(name, path)
        if spec is not None and not _ours(name, _place(spec)):
            found[name] = _place(spec)
    return found


def problems() -> tuple[list[str], list[str]]:
    """What is wrong with our names on this machine, and the lines that mend it: for `doctor`."""
    wrong = [
        f"{found} stands in for Classifact's package {name!r} under `python -m` here; `classifact` is not affected"
        for name, found in shadows([os.getcwd(), *sys.path[1:]]).items()  # noqa: PTH109 -- as Python itself names it
    ]
    others = {
        other
        for name in PACKAGES
        for other in importlib.metadata.packages_distributions().get(name, [])
        # Distributions are asked, not files: a package that wrote over ours left its name in its own record.
        if other.lower() != "classifact"
    }
    wrong += [f"the package {other} installs files under Classifact's names" for other in sorted(others)]
    damaged = overwritten()
    wrong += [f"not as Classifact installed it: {HOME / name}" for name in damaged]
    repair = [f"pip uninstall -y {' '.join(sorted(others))}"] if others else []
    if others or damaged:
        repair.append("pip install --force-reinstall --no-deps classifact")
    return wrong, repair


def overwritten() -> list[str]:
    """Our installed files whose content is not what the installation recorded; none for an editable installation."""
    try:
        files = importlib.metadata.distribution("classifact").files or []
    except importlib.metadata.PackageNotFoundError:
        return []
    return [
        str(file)
        for file in files
        if file.parts[0] in PACKAGES and file.hash is not None and not _as_recorded(Path(str(file.locate())), file.hash)
    ]


def _as_recorded(path: Path, recorded: importlib.metadata.FileHash) -> bool:
    if not path.is_file():
        return False
    digest = hashlib.new(recorded.mode, path.read_bytes()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == recorded.value


def _ours(name: str, found: str) -> bool:
    return Path(found).resolve().is_relative_to(HOME / name)


def _place(spec: ModuleSpec) -> str:
    """The file of a module, or the folder of a package that has no file of its own."""
    return spec.origin or next(iter(spec.submodule_search_locations or ()), "?")
