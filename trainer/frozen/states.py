"""What the frozen layers of a network make of rows, computed once and read from disk in every epoch.

One file holds the states of all tokens of all rows, one after another, without padding: [tokens, H]. Its name is made
of everything that they depend on, so any run that finds the file may use it.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from trainer.contract.encoding import Encoded, Ints
from trainer.contract.system.files import json_bytes

# numpy has no bfloat16, so those are kept as their bits.
_KEPT_AS: dict[torch.dtype, np.dtype[Any]] = {torch.float32: np.dtype(np.float32), torch.bfloat16: np.dtype(np.uint16)}


@dataclass(frozen=True, kw_only=True)
class StatesFile:
    """A file of states, there or to be made."""

    path: Path
    tokens: int
    width: int
    """H, the numbers of a state."""
    dtype: torch.dtype
    """torch.float32 or torch.bfloat16."""

    @property
    def size(self) -> int:
        """Bytes."""
        return self.tokens * self.width * self.dtype.itemsize

    def exists(self) -> bool:
        """Whether it is there, whole."""
        return self.path.is_file() and self.path.stat().st_size == self.size

    def open(self) -> "FrozenStates":
        """Map it into memory; what is read often stays there, as far as there is room."""
        values = np.memmap(self.path, dtype=_KEPT_AS[self.dtype], mode="r", shape=(self.tokens, self.width))
        return FrozenStates(values=values, dtype=self.dtype)

    def bytes_of(self, states: torch.Tensor) -> bytes:
        """States [tokens, H] as they stand in the file."""
        kept = states.to("cpu", self.dtype).contiguous()
        return (kept.view(torch.uint16) if self.dtype == torch.bfloat16 else kept).numpy().tobytes()


@dataclass(frozen=True, kw_only=True)
class FrozenStates:
    """States of all rows' tokens, [tokens, H], in the order of the rows."""

    values: NDArray[np.float32] | NDArray[np.uint16]
    dtype: torch.dtype

    def padded(self, encoded: Encoded, rows: Ints) -> torch.Tensor:
        """The rows' states [B, T, H], with zeros behind a row's last token, where the attention mask is 0."""
        starts, lengths = encoded.offsets[rows], encoded.lengths[rows]
        found = np.zeros((len(rows), int(lengths.max(initial=0)), self.values.shape[1]), dtype=self.values.dtype)
        for place, (start, length) in enumerate(zip(starts.tolist(), lengths.tolist(), strict=True)):
            found[place, :length] = self.values[start : start + length]
        states = torch.from_numpy(found)
        return states.view(torch.bfloat16) if self.dtype == torch.bfloat16 else states


def drop_states(folder: Path) -> None:
    """Remove the files of states of a stage that is done."""
    for path in folder.glob("*.states"):
        path.unlink()


def digest(settings: object, weights: Iterable[tuple[str, torch.Tensor]], encoded: Encoded) -> str:
    """A name for the states that these weights make of these rows. The token ids are those after truncation, so its
    limit and side are in them.
    """
    found = hashlib.sha256(json_bytes(settings))
    for name, tensor in weights:
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    for array in (encoded.offsets, encoded.ids, encoded.types):
        found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()[:32]
