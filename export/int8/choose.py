"""Which int8: per channel or per tensor by loss and speed, and a repair where neither passes its gate."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx

from export.bundle import Parity
from export.int8.quantize import Int8, quantizable, quantize
from export.passes.choose import choose_settings
from export.passes.graph_file import save_graph
from export.proof.measure import Measure, Variant
from export.proof.parity import ParityBounds, failures
from export.trained_run import Sample, spread
from trainer.contract.system.progress import Progress

# Per channel loses less. Per tensor is taken where it passes the gate too and is faster by more than this in every
# round of a race: the choice is in the file's bytes, which must not hang on noise.
WORTH = 1.10
# What the sensitivity of each part is measured on: so many tokens of rows of all lengths, in at most so many rows.
SENSITIVITY_TOKENS, SENSITIVITY_ROWS = 8192, 128


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One way to quantize, its file with the settings chosen for it, and how it compares with torch."""

    how: Int8
    variant: Variant
    gains: dict[str, float]
    parity: Parity


@dataclass(frozen=True, kw_only=True)
class Int8Search:
    """Tries ways to quantize one graph."""

    graph: onnx.ModelProto
    measure: Measure
    bounds: ParityBounds
    scratch: Path
    """An existing folder for the files."""

    def best(self) -> Trial:
        """The closest way that passes the gate, or a faster one; repaired where none does.

        Where repair fails too, what failed is returned for the gate to refuse.
        """
        base = Int8()
        channel = self._try(replace(base, per_channel=True), "per_channel")
        # Per channel first: it is closer to torch, and where it passes, the other way is tried for speed alone.
        passes = not failures(channel.parity, self.bounds)
        if passes and not self._is_worth(base, channel):
            return channel
        tensor = self._try(base, "per_tensor")
        if not failures(tensor.parity, self.bounds):
            return tensor
        return channel if passes else self._repair(channel)

    def _is_worth(self, how: Int8, channel: Trial) -> bool:
        """Whether another way is faster by so much in every round; never without timing."""
        if not self.measure.timing:
            return False
        other = replace(channel.variant, path=self.scratch / "other.onnx")
        save_graph(quantize(self.graph, how, self.scratch), other.path)
        found = self.measure.race({str(channel.how): channel.variant, str(how): other})
        return found.always(str(how), over=str(channel.how), by=WORTH)

    def _try(self, how: Int8, name: str) -> Trial:
        path = self.scratch / f"{name}.onnx"
        save_graph(quantize(self.graph, how, self.scratch), path)
        variant, gains = choose_settings(path, self.measure)
        return Trial(how=how, variant=variant, gains=gains, parity=self.measure.parity(variant))

    def _repair(self, failed: Trial) -> Trial:
        """Keep what causes the most loss in float: one part (a product, a look-up), two, four and so on, up to half."""
        worst = self._by_sensitivity(failed)
        count = 1
        # Doubling tries few files. With more than half in float, a file is hardly int8.
        while count <= len(worst) // 2:
            with self.measure.progress.step(f"repairing int8: {count} of {len(worst)} parts stay in float"):
                trial = self._try(replace(failed.how, keep=tuple(worst[:count])), "repaired")
            if not failures(trial.parity, self.bounds):
                return trial
            count *= 2
        return failed

    def _by_sensitivity(self, failed: Trial) -> list[str]:
        """Products and look-ups, first what moves probabilities furthest from torch's when it alone is quantized.

        Alone, because one left out of a ruined graph changes little while another still ruins it.
        """
        sample, truth = self.measure.sample, self.measure.truth
        rows = spread(sample.encoded.lengths, sample.within(SENSITIVITY_TOKENS, SENSITIVITY_ROWS))
        few = replace(
            self.measure, sample=Sample.of(sample.rows.take(rows), sample.encoder), progress=Progress(quiet=True)
        )
        path = self.scratch / "alone.onnx"
        found: dict[str, float] = {}
        names = quantizable(self.graph)
        with self.measure.progress.step("quantizing one part at a time", len(names)) as tick:
            for name in names:
                others = tuple(other for other in names if other != name)
                save_graph(quantize(self.graph, replace(failed.how, keep=others), self.scratch), path)
                scores = truth.space.decode(few.logits(replace(failed.variant, path=path)))
                found[name] = float(np.abs(scores.probabilities - truth.scores.probabilities[rows]).mean())
                tick(1)
        return sorted(found, key=found.__getitem__, reverse=True)
