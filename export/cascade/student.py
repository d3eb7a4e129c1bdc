"""The student: token ids to logits in numpy, and the file that it is read from. No torch, and no second tokenization.

A row is the bag of its word pieces and of its neighbouring pairs of them (hashed), as the encoder reads it, after
truncation: the mean of their vectors, one ReLU, one product (fastText of Joulin et al. 2017, arXiv 1607.01759). The
mean is a weighted one, and each feature has learnt its weight (feed-forward attention of Raffel and Ellis 2015, arXiv
1512.08756).
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.contract.encoding import Encoded, Ints
from trainer.contract.errors import ArtifactError
from trainer.contract.system.files import json_bytes

Floats = NDArray[np.float32]
STUDENT_FILE = "cascade/student.safetensors"
# We write no other types and no other order of bytes.
_KINDS: dict[str, Any] = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2")}
_NAMES = ("pieces", "pairs", "bias", "output", "output_bias")
_HEADER_BYTES = 4096
# Vectors that are gathered at once: they stay in the processor's cache.
_AT_ONCE = 8192
# Odd constants of 64 bits (those of SplitMix64), so that neighbours spread over the buckets.
_FIRST, _SECOND = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9)


@dataclass(frozen=True, kw_only=True)
class Student:
    """Weights for V word pieces, K buckets of pairs, H hidden units and C labels."""

    pieces: Floats
    """[V, H + 1]: a vector times its weight and, last, that weight, above zero."""
    pairs: Floats
    """[K, H + 1], in the same way."""
    bias: Floats
    """[H]"""
    output: Floats
    """[H, C]"""
    output_bias: Floats
    """[C]; logits are scaled so that the bundle's temperature makes probabilities of them."""

    @property
    def labels(self) -> int:
        """C."""
        return int(self.output.shape[1])

    def logits(self, encoded: Encoded) -> Floats:
        """Logits of N rows, float32 [N, C].

        Each is a function of its row alone, to the last bit: sums run in the order of the row, and the product is not
        left to a library whose sums depend on how many rows there are.
        """
        found = np.empty((len(encoded), self.labels), dtype=np.float32)
        # A token is one vector, and one more for the pair that it begins.
        blocks = np.searchsorted(encoded.offsets, np.arange(0, len(encoded.ids) + 1, _AT_ONCE // 2))
        bounds = np.unique(np.concatenate([[0], blocks, [len(encoded)]])).clip(0, len(encoded))
        for start, stop in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
            found[start:stop] = self._block(encoded, start, stop)
        return found

    def _block(self, encoded: Encoded, start: int, stop: int) -> Floats:
        lengths = encoded.lengths[start:stop]
        ids = encoded.ids[encoded.offsets[start] : encoded.offsets[stop]]
        buckets, pairs = pair_buckets(ids, lengths, len(self.pairs))
        sums = _sums(self.pieces[ids], lengths) + _sums(self.pairs[buckets], pairs)
        # A row without tokens has no weight: its mean is zero.
        hidden = sums[:, :-1] / np.maximum(sums[:, -1:], np.finfo(np.float32).tiny) + self.bias
        np.maximum(hidden, 0, out=hidden)
        logits: Floats = np.einsum("nh,hc->nc", hidden, self.output, optimize=False) + self.output_bias
        return logits

    def tensors(self) -> dict[str, NDArray[Any]]:
        """By name, as they are kept: the two large ones in half precision."""
        kept: dict[str, NDArray[Any]] = {name: getattr(self, name) for name in _NAMES}
        return kept | {name: kept[name].astype(np.float16) for name in ("pieces", "pairs")}

    @classmethod
    def open(cls, path: Path, *, vocabulary: int, labels: int) -> "Student":
        """Read a file. vocabulary: the largest number of a word piece, and one. labels: C.

        Raises ArtifactError for tensors that are missing, not numbers, weights that are not above zero, or a shape that
        the bundle does not fit.
        """
        tensors = read_tensors(path)
        found = {name: tensors.get(name) for name in _NAMES}
        if set(tensors) != set(_NAMES) or any(array is None for array in found.values()):
            raise _unfit(path, ", ".join(sorted(tensors)), ", ".join(_NAMES))
        arrays = {name: np.asarray(array, dtype=np.float32) for name, array in found.items()}
        hidden = arrays["bias"].size
        buckets = len(arrays["pairs"]) if arrays["pairs"].ndim else 0
        shapes = {
            "pieces": (vocabulary, hidden + 1),
            "pairs": (max(1, buckets), hidden + 1),
            "bias": (max(1, hidden),),
            "output": (hidden, labels),
            "output_bias": (labels,),
        }
        for name, array in arrays.items():
            if array.shape != shapes[name]:
                raise _unfit(path, f"{name} {list(array.shape)}", f"{name} {list(shapes[name])}")
            if not np.isfinite(array).all():
                raise _unfit(path, f"{name} with values that are no numbers", "numbers")
        for name in ("pieces", "pairs"):
            if (arrays[name][:, -1] <= 0).any():
                raise _unfit(path, f"{name} with weights of zero or less", "weights above zero")
        return cls(**arrays)


def pair_buckets(ids: NDArray[np.int32], lengths: Ints, buckets: int) -> tuple[Ints, Ints]:
    """The buckets of the neighbouring pairs of rows that lie flat in `ids`, flat too, and the number of each row's."""
    first, second = ids[:-1].astype(np.uint64), ids[1:].astype(np.uint64)
    mixed = (first * _FIRST) ^ (second * _SECOND + _FIRST)
    mixed = (mixed ^ (mixed >> np.uint64(29))) * _SECOND
    found = ((mixed ^ (mixed >> np.uint64(32))) % np.uint64(buckets)).astype(np.int64)
    # The last token of a row begins no pair.
    inside = np.ones(max(0, len(ids) - 1), dtype=np.bool_)
    ends = np.cumsum(lengths)[:-1] - 1
    inside[ends[(ends >= 0) & (ends < len(inside))]] = False
    return found[inside], np.maximum(lengths - 1, 0)


def _sums(vectors: Floats, lengths: Ints) -> Floats:
    """The sum of each row's vectors, which lie flat, [N, H]."""
    sums = np.zeros((len(lengths), vectors.shape[1]), dtype=np.float32)
    some = lengths > 0
    if some.any():
        starts = (np.cumsum(lengths) - lengths)[some]
        sums[some] = np.add.reduceat(vectors, starts, axis=0)
    return sums


def write_student(path: Path, student: Student) -> None:
    """Write the file: safetensors, its bytes a function of the weights."""
    tensors = {name: np.ascontiguousarray(array) for name, array in student.tensors().items()}
    names, header, place = {np.dtype(kind): name for name, kind in _KINDS.items()}, {}, 0
    for name, array in tensors.items():
        header[name] = {
            "dtype": names[array.dtype],
            "shape": list(array.shape),
            "data_offsets": [place, place + array.nbytes],
        }
        place += array.nbytes
    text = json_bytes(header)
    text += b" " * (-len(text) % 8)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(array.tobytes() for array in tensors.values()))


def read_tensors(path: Path) -> dict[str, NDArray[Any]]:
    """The tensors of a small safetensors file, which may be anybody's.

    Our own reader, since a machine that only scores has no safetensors. Raises ArtifactError for bytes that are not
    exactly what the header says.
    """
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    if len(data) < 8 or size > min(_HEADER_BYTES, len(data) - 8):
        raise _unfit(path, f"a header of {size} bytes in a file of {len(data)}", f"at most {_HEADER_BYTES}")
    try:
        header = json.loads(data[8 : 8 + size])
        entries = [(name, *_entry(about)) for name, about in header.items() if name != "__metadata__"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _unfit(path, f"{type(error).__name__}: {error}", "a safetensors header of our kinds") from None
    place, tensors = 8 + size, {}
    for name, kind, shape, (start, stop) in sorted(entries, key=lambda entry: entry[3]):
        # Tensors fill the file without gaps or overlaps: anything else was not written by us.
        if (8 + size + start, stop - start) != (place, math.prod(shape) * kind.itemsize) or 8 + size + stop > len(data):
            raise _unfit(path, f"{name} at {start} to {stop}", f"{math.prod(shape)} numbers from {place - 8 - size} on")
        tensors[name] = np.frombuffer(data, kind, math.prod(shape), place).reshape(shape)
        place += stop - start
    if place != len(data):
        raise _unfit(path, f"{len(data) - place} bytes more", "the end of the file")
    return tensors


def _entry(about: dict[str, Any]) -> tuple[np.dtype[Any], tuple[int, ...], tuple[int, int]]:
    kind, shape, (start, stop) = _KINDS[about["dtype"]], about["shape"], about["data_offsets"]
    if not all(type(number) is int and 0 <= number < 2**40 for number in (*shape, start, stop)) or len(shape) > 2:
        raise ValueError(f"shape {shape}, offsets {start} to {stop}")
    return kind, tuple(shape), (start, stop)


def _unfit(path: Path, found: str, expected: str) -> ArtifactError:
    return ArtifactError(
        "the student's file does not fit the bundle",
        where=path,
        found=found[:200],
        expected=expected,
        do="copy the bundle again, or export again; score without --agreement",
    )
