"""Logits of labelled rows, and what they are worth: computed once, from every row exactly once, on any number of
processes.
"""

from dataclasses import dataclass

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import nn

from trainer.contract.encoding import Batch, Encoded, EncodingPolicy, Ints, TextEncoder, budget_batches
from trainer.contract.figures.metrics import compute_all
from trainer.contract.labelled import LabelledRows
from trainer.contract.labels import LabelSpace, Scores
from trainer.frozen.states import FrozenStates
from trainer.processes.fsdp import is_sharded


@dataclass(frozen=True, kw_only=True)
class EncodedRows:
    """Labelled rows with their token ids."""

    rows: LabelledRows
    encoded: Encoded
    states: FrozenStates | None = None
    """What the frozen layers make of them, where those run only once."""

    @classmethod
    def of(cls, rows: LabelledRows, encoder: TextEncoder) -> "EncodedRows":
        """Encode the texts of the rows."""
        return cls(rows=rows, encoded=encoder.encode(rows.texts, rows.pairs))

    def cut(self, policy: EncodingPolicy) -> str:
        """What the limit costs, in words."""
        cut = self.encoded.truncation()
        return (
            f"{cut['rows_cut']} of {cut['rows']} training texts are cut at {policy.max_tokens} tokens "
            f"({policy.truncation}): {cut['tokens_cut']} of {cut['tokens'] + cut['tokens_cut']} tokens"
        )


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """logits float32 [N, C] in the order of the rows, their scores, and every metric that is defined for the labels."""

    logits: NDArray[np.float32]
    scores: Scores
    metrics: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Predictor:
    """A network and all it needs to turn encoded rows into logits."""

    network: nn.Module
    inputs: frozenset[str]
    """Names of what its forward takes."""
    encoder: TextEncoder
    accelerator: Accelerator
    tokens: int
    """Padded tokens of a batch."""

    def evaluate(self, data: EncodedRows, space: LabelSpace) -> Evaluation:
        """Every metric of the rows; the same on every process."""
        logits = self.logits(data)
        scores = space.decode(logits)
        return Evaluation(logits=logits, scores=scores, metrics=compute_all(scores, data.rows.labels, space))

    @torch.no_grad()
    def logits(self, data: EncodedRows) -> NDArray[np.float32]:
        """float32 [N, C], in the order of the rows, on every process. The network is left in evaluation mode."""
        self.network.eval()
        lengths = data.encoded.lengths
        # By length, so that batch mates pad each other little.
        order = np.argsort(-lengths, kind="stable")
        rank, processes = self.accelerator.process_index, self.accelerator.num_processes
        # Every process runs as many rows as the first one, so that what is gathered has one shape. A process with
        # one row less repeats its last, and repeats are dropped by row number.
        share = order[rank::processes]
        if len(share) < len(order[::processes]):
            share = np.append(share, share[-1] if len(share) else order[0])
        batches = budget_batches(lengths, share, self.tokens)
        found = [self.network(**self.feed(data, rows)).logits.float() for rows in batches]
        if is_sharded(self.accelerator):
            # Every process must take part in each forward: one with fewer batches repeats a row until all are done.
            count = torch.tensor([len(batches)], device=self.accelerator.device)
            for _ in range(int(self.accelerator.gather(count).max()) - len(batches)):
                self.network(**self.feed(data, share[-1:]))
        numbers = self.accelerator.gather(torch.from_numpy(share).to(self.accelerator.device)).cpu().numpy()
        gathered = self.accelerator.gather(torch.cat(found)).cpu().numpy()
        logits = np.empty((len(lengths), gathered.shape[1]), dtype=np.float32)
        logits[numbers] = gathered
        return logits

    def feed(self, data: EncodedRows, rows: Ints) -> dict[str, torch.Tensor]:
        """What the network takes for these rows: padded token ids, or the frozen layers' states of them."""
        batch, device = self.encoder.pad(data.encoded, rows), self.accelerator.device
        if data.states is None:
            return model_inputs(batch, self.inputs, device)
        states = data.states.padded(data.encoded, rows).to(device, non_blocking=True)
        # As the layer below would hand them over; half precision is for the disk and the way to the device.
        return {"inputs_embeds": states.float(), **model_inputs(batch, frozenset({"attention_mask"}), device)}

    def probes(self, data: EncodedRows) -> list[dict[str, torch.Tensor]]:
        """The longest row alone, and padded: two batches on which a way to run the network is tried."""
        lengths = data.encoded.lengths
        longest = int(lengths.argmax())
        whole, padded = (self.feed(data, np.array(rows)) for rows in ([longest], [lengths.argmin(), longest]))
        # Where all rows are equally long, there may still be padding in an evaluation.
        padded["attention_mask"][0, -1] = 0
        return [whole, padded]


def model_inputs(batch: Batch, names: frozenset[str], device: torch.device) -> dict[str, torch.Tensor]:
    """A padded batch as tensors, under those names that the network's forward takes: not every family knows token
    types.
    """
    return {
        name: torch.from_numpy(array).to(device, non_blocking=True)
        for name, array in batch.named().items()
        if name in names
    }
