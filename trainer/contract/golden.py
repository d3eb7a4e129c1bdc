"""Golden logits: what a checkpoint's weights made of some rows where they were trained, in `golden.json` beside them.

Another version of a library may read the same weights as another function (ModernBERT's rotary settings between
transformers 4.57 and 5, say); only logits from the place of training show it.
"""

import platform
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainer.contract.errors import ArtifactError
from trainer.contract.labels import LabelSpace
from trainer.contract.lanes import other_lane
from trainer.contract.system.files import read_json, write_json
from trainer.contract.system.installed import installed_versions

GOLDEN_FILE = "golden.json"
GOLDEN_ROWS = 128
# Of the largest logit. Orders of sums on another processor or device leave 1e-5; another function leaves far more.
BOUND = 1e-3
_LIBRARIES = ("torch", "transformers", "tokenizers", "numpy")


@dataclass(frozen=True, kw_only=True)
class Golden:
    """Rows with their logits."""

    texts: list[str]
    """Texts of N rows."""
    pairs: list[str] | None
    """Their second texts; None if rows have one text."""
    logits: NDArray[np.float32]
    """float32 [N, C], from the network in fp32."""
    versions: dict[str, str]
    """Versions of the libraries that made them."""

    def save(self, folder: Path) -> None:
        """Write the file, unless a logit is not finite: such a network decides nothing, and its figures say so."""
        if np.isfinite(self.logits).all():
            content = {"versions": self.versions, "texts": self.texts, "pairs": self.pairs}
            write_json(folder / GOLDEN_FILE, {**content, "logits": self.logits.tolist()})

    @classmethod
    def open(cls, folder: Path) -> "Golden | None":
        """Read the file; None where there is none: runs of earlier versions have none.

        Raises ArtifactError where it does not hold a row of logits for each text.
        """
        if not (folder / GOLDEN_FILE).is_file():
            return None
        content = read_json(folder / GOLDEN_FILE)
        try:
            texts, pairs = [str(text) for text in content["texts"]], content["pairs"]
            logits = np.array(content["logits"], dtype=np.float32)
            versions = {str(name): str(version) for name, version in content["versions"].items()}
            fits = logits.ndim == 2 and len(texts) == len(logits) > 0 and len(texts) == len(pairs or texts)
        except (KeyError, TypeError, ValueError, AttributeError):
            fits = False
        if not fits:
            raise ArtifactError("golden.json holds no logits of rows", where=folder, do="restore it, or train again")
        return cls(texts=texts, pairs=pairs and [str(pair) for pair in pairs], logits=logits, versions=versions)

    def compare(self, logits: NDArray[np.float32], where: Path) -> float:
        """The largest difference of these logits [N, C] from the golden ones.

        Raises ArtifactError, naming the libraries' versions then and now, where it is more than rounding.
        """
        bound = BOUND * max(1.0, float(np.abs(self.logits).max()))
        same = logits.shape == self.logits.shape
        difference = float(np.abs(logits.astype(np.float64) - self.logits).max()) if same else float("nan")
        if difference <= bound:
            return difference
        now = versions()
        names = sorted({*now, *self.versions})
        changed = [f"{name} {self.versions.get(name)} then, {now.get(name)} now" for name in names]
        raise ArtifactError(
            "the checkpoint is another function here than where it was trained",
            where=where,
            found=f"logits of {len(self.texts)} golden rows differ by up to {difference:.2g}; " + "; ".join(changed),
            expected=f"at most {bound:.2g}",
            do=other_lane(now.get("transformers", ""), written_by=self.versions.get("transformers", ""))
            or "install the versions that trained it, or train again with these",
        )


def versions() -> dict[str, str]:
    """The versions of Python and of the libraries that decide what weights mean."""
    return {"python": platform.python_version(), **installed_versions(_LIBRARIES)}


def choose(logits: NDArray[np.float32], lengths: NDArray[np.int64], space: LabelSpace) -> NDArray[np.int64]:
    """The numbers of at most GOLDEN_ROWS rows, ascending: half of them nearest to another decision, the others spread
    over all lengths, the shortest and the longest among them.

    logits: [N, C]. lengths: tokens of each row, [N].
    """
    probabilities = space.decode(logits).probabilities
    limits = np.array(space.thresholds or (0.5,) * len(space))
    if space.kind == "multi":
        # Of several labels the least sure one says how near a row is.
        margins = np.abs(probabilities - limits).min(axis=1)
    else:
        weighed = np.sort(probabilities / limits, axis=1)
        margins = weighed[:, -1] - weighed[:, -2]
    near = np.argsort(margins, kind="stable")[: GOLDEN_ROWS // 2]
    others = np.setdiff1d(np.arange(len(lengths)), near)
    others = others[np.argsort(lengths[others], kind="stable")]
    places = np.linspace(0, len(others) - 1, min(GOLDEN_ROWS - len(near), len(others))).round().astype(np.int64)
    return np.sort(np.concatenate([near, others[places]]))
