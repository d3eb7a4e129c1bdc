"""The frozen layers at a network's start, run once.

Where the embeddings and the first layers do not learn, their output for a row is the same in every epoch, evaluation
and trial. It is computed once, in evaluation mode, and kept on disk; what is trained is the rest of the network (its
"tail": the free layers, pooler and head), which shares its weights with the whole one. So the optimizer, the
checkpoints and the resume state know nothing of it.
"""

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import transformers
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from torch import nn
from transformers import PreTrainedModel

from trainer.contract.encoding import Ints, TextEncoder, budget_batches
from trainer.contract.system.files import PARTIAL
from trainer.contract.system.progress import Progress
from trainer.frozen.states import StatesFile, digest
from trainer.frozen.tail import Unsuitable, frozen_layers, states_after, tail_of
from trainer.network.layers import embeddings, encoder_layers
from trainer.predict import EncodedRows, model_inputs
from trainer.processes.fsdp import is_sharded
from trainer.run_folder.keeper import Interrupted, StopRequest

# A larger file than this share of the free disk is not written.
DISK_SHARE = 0.5
# How far the tail's logits may lie from the whole network's in fp32.
STATES_TOLERANCE = 1e-4
# Parts of the names of settings that frozen layers do not depend on, or that saving a checkpoint writes.
_OTHER_SETTINGS = ("label", "drop", "problem_type", "_name_or_path", "classifier", "architectures", "dtype", "version")
_DONE, _FAILED, _STOPPED = 0, 1, 2


@dataclass(frozen=True, kw_only=True)
class PrefixJob:
    """What a stage trains with."""

    accelerator: Accelerator
    network: PreTrainedModel
    inputs: frozenset[str]
    encoder: TextEncoder
    folder: Path
    """Where states are kept."""
    tokens: int
    """Padded tokens of a batch."""
    progress: Progress
    stop: StopRequest
    wanted: bool
    """Whether the recipe allows it."""


def without_prefix(job: PrefixJob, sets: list[EncodedRows]) -> tuple[nn.Module, list[EncodedRows]]:
    """What to train, and its rows: the tail with the states of its rows, or all as it is where no layer at the start is
    frozen or the states cannot be had, which is said in a line.

    Raises Interrupted after a signal.
    """
    count = frozen_layers(job.network) if job.wanted else 0
    if count == 0:
        return job.network, sets
    try:
        _check_launch(job.accelerator)
        job.network.to(job.accelerator.device)
        job.network.eval()
        tail = tail_of(job.network, count)
        width = _probe(job, count, tail, sets[0])
        return tail, [_with_states(job, count, width, data) for data in sets]
    except Unsuitable as reason:
        job.progress.say(f"the {count} frozen layers run in every epoch: {reason.what}")
        return job.network, sets


def _check_launch(accelerator: Accelerator) -> None:
    if is_sharded(accelerator):
        raise Unsuitable("FSDP trains a split copy of the network")
    if int(os.environ.get("LOCAL_WORLD_SIZE", accelerator.num_processes)) != accelerator.num_processes:
        raise Unsuitable("the launch is on several machines, which have no folder in common that we know of")


def _probe(job: PrefixJob, count: int, tail: nn.Module, data: EncodedRows) -> int:
    """Try the tail on the shortest and the longest row; gives the states' width.

    Raises Unsuitable where a learning weight reaches the states, or the tail's logits are not the network's.
    """
    lengths = data.encoded.lengths
    batch = job.encoder.pad(data.encoded, np.array([lengths.argmin(), lengths.argmax()]))
    inputs = model_inputs(batch, job.inputs, job.accelerator.device)
    mask = inputs["attention_mask"]
    try:
        with torch.enable_grad():
            states = states_after(job.network, count, inputs)
        if states.requires_grad:
            raise Unsuitable(f"in {job.network.config.model_type} they use weights that learn")
        with torch.no_grad():
            expected = job.network(**inputs).logits
            found = tail(inputs_embeds=states * mask[:, :, None], attention_mask=mask).logits
        error = float((found - expected).abs().max())
    except (AttributeError, IndexError, RuntimeError, TypeError, ValueError) as problem:
        text = str(problem).splitlines()[0][:120]
        raise Unsuitable(f"{job.network.config.model_type} cannot start from their output ({text})") from problem
    # Turned round, so that NaN is refused too.
    if not error <= STATES_TOLERANCE * max(1.0, float(expected.abs().max())):
        raise Unsuitable(f"from their output {job.network.config.model_type} gives other logits (by {error:.1e})")
    return int(states.shape[-1])


def _with_states(job: PrefixJob, count: int, width: int, data: EncodedRows) -> EncodedRows:
    """The rows with their states, found or made."""
    precision = job.accelerator.mixed_precision
    settings = {
        "transformers": transformers.__version__,
        "layers": count,
        "precision": precision,
        "config": {
            name: value
            for name, value in job.network.config.to_diff_dict().items()
            if not any(part in name for part in _OTHER_SETTINGS)
        },
    }
    (name,) = broadcast_object_list([digest(settings, _weights(job.network, count), data.encoded)])
    # fp16 has too small a range for what some layers put out, so only bf16 halves the file.
    file = StatesFile(
        path=job.folder / f"{name}.states",
        tokens=len(data.encoded.ids),
        width=width,
        dtype=torch.bfloat16 if precision == "bf16" else torch.float32,
    )
    # The main process's answer counts: two that look a moment apart must not go two ways.
    known, room = broadcast_object_list([file.exists(), _room(job.folder)])
    what = f"what the {count} frozen layers make of {len(data.encoded)} rows ({file.size / 1e6:,.0f} MB)"
    if known:
        job.progress.say(f"{what} is there: {file.path}")
    else:
        if file.size > DISK_SHARE * room:
            raise Unsuitable(f"{file.size / 1e6:,.0f} MB is more than half of the free disk at {job.folder}")
        _make(job, count, file, data)
        job.progress.say(f"{what} is kept in {file.path}")
    return replace(data, states=file.open())


def _weights(network: PreTrainedModel, count: int) -> Iterator[tuple[str, torch.Tensor]]:
    for place, module in enumerate([*embeddings(network), *encoder_layers(network)[:count]]):
        for name, tensor in (*module.named_parameters(), *module.named_buffers()):
            yield f"{place}.{name}", tensor


def _room(folder: Path) -> int:
    """Free bytes; 0 where nothing can be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return shutil.disk_usage(folder).free
    except OSError:
        return 0


def _make(job: PrefixJob, count: int, file: StatesFile, data: EncodedRows) -> None:
    """Write the file, each process its share of the rows, under another name that becomes its own when all are done.

    Raises Unsuitable where the disk refuses, Interrupted after a signal; both on every process.
    """
    accelerator = job.accelerator
    (token,) = broadcast_object_list([secrets.token_hex(8)])
    partial = file.path.with_name(f".{file.path.name}.{token}{PARTIAL}")
    if accelerator.is_main_process:
        # Where this fails, opening it below fails too.
        with contextlib.suppress(OSError):
            partial.touch(exist_ok=False)
    accelerator.wait_for_everyone()
    outcome = _write_share(job, count, file, data, partial)
    worst = int(accelerator.gather(torch.tensor([outcome], device=accelerator.device)).max())
    if accelerator.is_main_process:
        if worst == _DONE:
            partial.replace(file.path)
        else:
            partial.unlink(missing_ok=True)
    accelerator.wait_for_everyone()
    if worst == _STOPPED:
        raise Interrupted(
            "interrupted while the frozen layers ran", do="run the same command with --resume to start the stage again"
        )
    if worst == _FAILED:
        raise Unsuitable(f"their output cannot be written to {job.folder}; is the disk full?")


def _write_share(job: PrefixJob, count: int, file: StatesFile, data: EncodedRows, partial: Path) -> int:
    """Compute this process's rows and write them to their places; gives how it ended."""
    accelerator, lengths = job.accelerator, data.encoded.lengths
    share = np.argsort(-lengths, kind="stable")[accelerator.process_index :: accelerator.num_processes]
    try:
        # Plain writes, not a memory map: those tell of a full disk, a map would end the process.
        with partial.open("r+b") as output, job.progress.step("frozen layers", len(share)) as tick:
            for rows in budget_batches(lengths, share, job.tokens):
                if job.stop.received:
                    return _STOPPED
                for row, states in zip(rows.tolist(), _compute(job, count, data, rows), strict=True):
                    output.seek(int(data.encoded.offsets[row]) * file.width * file.dtype.itemsize)
                    output.write(file.bytes_of(states[: lengths[row]]))
                tick(len(rows))
            output.flush()
            os.fsync(output.fileno())
    except OSError:
        return _FAILED
    return _DONE


@torch.no_grad()
def _compute(job: PrefixJob, count: int, data: EncodedRows, rows: Ints) -> torch.Tensor:
    inputs = model_inputs(job.encoder.pad(data.encoded, rows), job.inputs, job.accelerator.device)
    with job.accelerator.autocast():
        return states_after(job.network, count, inputs).float().cpu()
