"""A model of the hub as a folder on this machine: only the files that are opened as data are downloaded."""

import threading
from pathlib import Path

import huggingface_hub
from huggingface_hub import constants
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, RepositoryNotFoundError

from trainer.contract.errors import InputError

# Seconds. A name server or a proxy that never answers holds a request for longer than its own time-out.
PATIENCE = 4.0
# No code, no pickles, no template: what is not here is never on this machine.
HUB_FILES = (
    "config.json",
    "*.safetensors",
    "model.safetensors.index.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
    "*.model",
    "bpe.codes",
)


def snapshot(name: str) -> tuple[Path, tuple[str, ...]]:
    """The folder of a hub model, and a line where it is the copy of an earlier download.

    Raises InputError where the hub has no such model, or cannot be reached within seconds and no copy is here.
    """
    if constants.HF_HUB_OFFLINE:
        return _copy(name, "HF_HUB_OFFLINE is set"), ()
    trouble = _trouble(name)
    if trouble is not None:
        return _copy(name, trouble), (f"the hub cannot be reached: an earlier download of {name} is used",)
    return Path(huggingface_hub.snapshot_download(name, allow_patterns=list(HUB_FILES))), ()


def _trouble(name: str) -> str | None:
    """Why the hub does not answer, or None where it knows the model. Raises InputError where it has none of it."""
    found: list[Exception | None] = []

    def ask() -> None:
        """Note why the hub does not answer; None where it does."""
        try:
            huggingface_hub.HfApi().model_info(name, timeout=PATIENCE)
            found.append(None)
        except Exception as error:  # noqa: BLE001 -- handed to the caller, below
            found.append(error)

    # Not a pool: its threads are waited for when the program ends.
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(PATIENCE)
    error = found[0] if found else TimeoutError(f"no answer within {PATIENCE:.0f} seconds")
    if isinstance(error, RepositoryNotFoundError | HFValidationError):
        raise InputError(
            "the hub has no such model, or it is private",
            where=name,
            found=" ".join(str(error).split())[:200],
            do="check the name; a local model folder is named relative to the recipe; log in for a private model",
        ) from error
    if isinstance(error, HfHubHTTPError):
        return f"it answers {' '.join(str(error).split())[:200]}"
    return None if error is None else f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


def _copy(name: str, trouble: str) -> Path:
    try:
        return Path(huggingface_hub.snapshot_download(name, allow_patterns=list(HUB_FILES), local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError) as error:
        raise InputError(
            "cannot reach the hub, and the model is not on this machine",
            where=name,
            found=trouble,
            do="a local folder or an earlier download works; a local folder is named relative to the recipe",
        ) from error
