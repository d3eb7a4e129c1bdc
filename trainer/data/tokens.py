"""Token ids of a split's rows: made once, kept in files that every process of the machine maps."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.contract.encoding import Encoded, TextEncoder
from trainer.contract.errors import InputError
from trainer.contract.system.files import atomic_folder
from trainer.contract.system.progress import Progress
from trainer.data.stored import StoredRows, batches

_IDS, _TYPES = np.dtype(np.int32), np.dtype(np.int8)


def tokenized(rows: StoredRows, encoder: TextEncoder, folder: Path, progress: Progress) -> Encoded:
    """The rows' token ids, from `folder`, where they are made if they are not there.

    The files' name is made of the texts, the tokenizer and its limit, so any run may use them, and any process
    make them: where two do at once, the second to end takes the first one's.
    """
    name = hashlib.sha256(encoder.signature().encode())
    name.update(np.ascontiguousarray(rows.keys).data)
    path = folder / f"{name.hexdigest()[:32]}.tokens"
    if not path.exists():
        try:
            with atomic_folder(path) as partial:
                _write(rows, encoder, partial, progress)
        except (InputError, OSError):
            # Trials beside each other share the folder: the other's ids are these ids, and there they are.
            if not path.exists():
                raise
    return Encoded(
        ids=_mapped(path / "ids.bin", _IDS),
        types=_mapped(path / "types.bin", _TYPES),
        offsets=np.load(path / "offsets.npy"),
        cut=np.load(path / "cut.npy"),
    )


def _write(rows: StoredRows, encoder: TextEncoder, folder: Path, progress: Progress) -> None:
    lengths, cut = [np.zeros(1, dtype=np.int64)], [np.empty(0, dtype=np.int64)]
    names = ("text",) if rows.pairs is None else ("text", "pair")
    with (
        (folder / "ids.bin").open("wb") as ids,
        (folder / "types.bin").open("wb") as types,
        progress.step("tokenizing", len(rows), least=1.0) as tick,
    ):
        for texts in batches(rows.folder, rows.positions, *names):
            encoded = encoder.encode(*texts)
            ids.write(encoded.ids.data)
            types.write(encoded.types.data)
            lengths.append(encoded.lengths)
            cut.append(encoded.cut)
            tick(len(encoded))
    np.save(folder / "offsets.npy", np.cumsum(np.concatenate(lengths)))
    np.save(folder / "cut.npy", np.concatenate(cut))


def _mapped(path: Path, kind: np.dtype[Any]) -> NDArray[Any]:
    # A file without bytes cannot be mapped.
    return np.asarray(np.memmap(path, kind, mode="r")) if path.stat().st_size else np.empty(0, dtype=kind)
