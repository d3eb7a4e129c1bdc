"""Frozen layers at the network's start run once: same figures as when they run in every epoch."""

import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType
from safetensors.torch import load_file
from tokenizers import Tokenizer

from tests import tiny
from tests.told import Told
from tests.trainer import runs
from trainer.contract.encoding import EncodingPolicy, TextEncoder
from trainer.contract.labelled import LabelledRows
from trainer.frozen import prefix, states
from trainer.frozen.prefix import PrefixJob, Unsuitable, without_prefix
from trainer.network.layers import freeze
from trainer.network.load import Classifier, open_checkpoint
from trainer.predict import EncodedRows, Predictor
from trainer.recipes.file import load
from trainer.recipes.recipe import FreezePart
from trainer.run_folder.keeper import Interrupted, StopRequest
from trainer.stages import train
from trainer.training import TrainJob

TEXTS = ["win a prize now", "are you coming home for dinner tonight see you", "ok", "the cat sat on the mat " * 4]


def run(folder: Path, name: str, *settings: str) -> Path:
    """Train the folder's recipe in this process; gives the run's folder."""
    train(TrainJob(recipe=load(folder / "recipe.yaml", settings), out=folder / name, quiet=True))
    return folder / name


def weights(out: Path) -> dict[str, torch.Tensor]:
    """What the run ended with."""
    (found,) = (out / "resume").glob("*/model.safetensors")
    return dict(load_file(found))


def plain_rows(out: Path) -> int:
    """Rows that the run trained and validated on."""
    return 96 - len((out / "splits" / "test.jsonl").read_text().splitlines())


def assert_same(one: Path, other: Path) -> None:
    """Two runs saw the same losses and metrics, and ended with the same weights, within 1e-5."""
    for kind in ("step", "evaluation"):
        lines = [[line["loss"] for line in runs.log(out, kind)] for out in (one, other)]
        np.testing.assert_allclose(lines[0], lines[1], atol=1e-5)
    ours, theirs = weights(one), weights(other)
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert float((tensor - theirs[name]).abs().max()) < 1e-5, name


def stage(**changes: Any) -> dict[str, Any]:
    """One stage of a tiny recipe, its first layer frozen."""
    return {
        "epochs": 2,
        "batch": {"rows": 8, "tokens": 64},
        # Keys' biases have no gradient but rounding, which AdamW's usual epsilon would blow up to whole steps.
        "optimizer": {"learning_rate": 1.0e-3, "epsilon": 1.0e-5},
        "freeze": {"embeddings": True, "keep_last_layers": 1},
        **changes,
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe of two stages, the second on fewer free weights, with dropout in what is free."""
    made = tmp_path_factory.mktemp("prefix")
    runs.write_recipe(made, stages=[stage(), stage(epochs=1, freeze={"embeddings": True, "keep_last_layers": 0})])
    return made


@pytest.fixture(scope="module")
def plain(folder: Path) -> Path:
    """The run whose frozen layers run in every epoch."""
    return run(folder, "plain", "stages.0.freeze.cache=false", "stages.1.freeze.cache=false")


def test_the_same_run_with_and_without(folder: Path, plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Losses, metrics and final weights agree in both stages, frozen layers see each row once, and nothing is left."""
    computed: list[int] = []
    real = prefix._compute
    monkeypatch.setattr(prefix, "_compute", lambda *given: (computed.extend(given[3].tolist()), real(*given))[1])
    once = run(folder, "once")
    assert_same(plain, once)
    splits = plain_rows(once)
    assert len(computed) == 2 * splits
    assert not (once / "cache").exists()


def test_runs_share_a_folder(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder of its own the file outlives its run: another seed for head and order computes nothing, another limit
    does.
    """
    recipe = folder / "recipe.yaml"
    stages = ("stages=[{epochs: 1, freeze: {embeddings: true, keep_last_layers: 1}}]", "data.split.seed=42")
    train(TrainJob(recipe=load(recipe, stages), out=tmp_path / "first", quiet=True, cache=tmp_path / "kept"))
    assert len(list((tmp_path / "kept").glob("*.states"))) == 2
    monkeypatch.setattr(prefix, "_make", lambda *_: pytest.fail("computed again"))
    other = load(recipe, (*stages, "seed=5"))
    train(TrainJob(recipe=other, out=tmp_path / "second", quiet=True, cache=tmp_path / "kept"))
    shorter = load(recipe, (*stages, "input.max_tokens=8"))
    with pytest.raises(BaseException, match="computed again"):
        train(TrainJob(recipe=shorter, out=tmp_path / "third", quiet=True, cache=tmp_path / "kept"))


def job_of(classifier: Classifier, folder: Path, lines: list[str]) -> PrefixJob:
    """A job on a checkpoint's classifier, which says its lines into `lines`."""
    encoder = TextEncoder(
        Tokenizer.from_str(classifier.tokenizer.backend_tokenizer.to_str()), EncodingPolicy(max_tokens=32)
    )
    return PrefixJob(
        accelerator=Accelerator(cpu=True),
        network=classifier.network,
        inputs=classifier.inputs,
        encoder=encoder,
        folder=folder,
        tokens=64,
        progress=Told(lines),
        stop=StopRequest(),
        wanted=True,
    )


def rows_of(job: PrefixJob) -> EncodedRows:
    """Four texts of different lengths."""
    labels = np.array([0, 1, 0, 1])
    rows = LabelledRows(ids=np.arange(4), texts=TEXTS, pairs=None, labels=labels, places=[""] * 4)
    return EncodedRows.of(rows, job.encoder)


def logits(job: PrefixJob, network: torch.nn.Module, rows: EncodedRows) -> Any:
    """What the network, or a tail, gives for the rows."""
    return Predictor(
        network=network, inputs=job.inputs, encoder=job.encoder, accelerator=job.accelerator, tokens=64
    ).logits(rows)


@pytest.mark.parametrize("keep", [0, 2])
@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert", "electra", "mpnet", "modernbert", "xlm-roberta"])
def test_families(family: str, keep: int, tmp_path: Path) -> None:
    """In each family the tail gives the network's logits for padded rows of different lengths, and follows when its
    free weights change.
    """
    changes = {"embedding_size": 16} if family == "electra" else {}
    folder = tiny.checkpoint(tmp_path / "checkpoint", model_type=family, num_hidden_layers=3, **changes).path
    classifier, lines = open_checkpoint(folder), []
    freeze(classifier.network, FreezePart(embeddings=True, keep_last_layers=keep))
    job = job_of(classifier, tmp_path, lines)
    tail, (rows,) = without_prefix(job, [rows_of(job)])
    assert rows.states is not None, lines
    for _ in range(2):
        np.testing.assert_allclose(logits(job, tail, rows), logits(job, job.network, rows_of(job)), atol=2e-5)
        with torch.no_grad():
            for parameter in job.network.parameters():
                if parameter.requires_grad:
                    parameter.mul_(1.1)


@pytest.mark.parametrize("family", ["deberta-v2", "albert"])
def test_what_cannot_be_cut_runs_whole(family: str, tmp_path: Path) -> None:
    """Where frozen layers read weights that learn (DeBERTa's norm of relative positions), or share theirs (ALBERT), the
    whole network is trained, and DeBERTa's reason is said.
    """
    changes = (
        {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "norm_rel_ebd": "layer_norm"}
        if family == "deberta-v2"
        else {}
    )
    classifier = open_checkpoint(tiny.checkpoint(tmp_path / "checkpoint", model_type=family, **changes).path)
    keep = 1 if family == "deberta-v2" else None
    freeze(classifier.network, FreezePart(embeddings=True, keep_last_layers=keep))
    lines: list[str] = []
    job = job_of(classifier, tmp_path, lines)
    network, (rows,) = without_prefix(job, [rows_of(job)])
    assert network is classifier.network
    assert rows.states is None
    assert [("weights that learn" in line) for line in lines] == ([True] if family == "deberta-v2" else [])


@pytest.fixture
def job(tmp_path: Path) -> tuple[PrefixJob, list[str]]:
    """A BERT of two layers, the first frozen."""
    classifier, lines = open_checkpoint(tiny.checkpoint(tmp_path / "checkpoint").path), []
    freeze(classifier.network, FreezePart(embeddings=True, keep_last_layers=1))
    return job_of(classifier, tmp_path / "cache", lines), lines


def test_a_small_disk_is_spared(job: tuple[PrefixJob, list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    """A file larger than half of the free disk is not begun; the line says so and how large it would be."""
    monkeypatch.setattr(prefix, "_room", lambda _: 5000)
    network, (rows,) = without_prefix(job[0], [rows_of(job[0])])
    assert network is job[0].network
    assert rows.states is None
    assert "half of the free disk" in job[1][-1]


def test_a_disk_that_fills_up_is_no_error(job: tuple[PrefixJob, list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that fails ends in the whole network, and leaves no file."""

    def full(*_: object) -> bytes:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(states.StatesFile, "bytes_of", full)
    network, _ = without_prefix(job[0], [rows_of(job[0])])
    assert network is job[0].network
    assert "cannot be written" in job[1][-1]
    assert list(job[0].folder.iterdir()) == []


def test_a_signal_while_frozen_layers_run(job: tuple[PrefixJob, list[str]]) -> None:
    """SIGTERM is heard before the first step, and leaves no file."""
    with job[0].stop.listening():
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(Interrupted, match="frozen layers"):
            without_prefix(job[0], [rows_of(job[0])])
    assert list(job[0].folder.iterdir()) == []


def test_a_file_cut_short_is_made_again(job: tuple[PrefixJob, list[str]]) -> None:
    """A file of another size than its rows need is replaced, not read."""
    _, (rows,) = without_prefix(job[0], [rows_of(job[0])])
    (path,) = job[0].folder.iterdir()
    expected = path.read_bytes()
    path.write_bytes(expected[:-4])
    without_prefix(job[0], [rows_of(job[0])])
    assert path.read_bytes() == expected
    assert rows.states is not None


def test_bfloat16_states_come_back(job: tuple[PrefixJob, list[str]], tmp_path: Path) -> None:
    """What is kept in bfloat16 is read as the same numbers, in the rows' places, with zeros behind them."""
    rows = rows_of(job[0])
    kept = torch.randn(len(rows.encoded.ids), 6).bfloat16()
    file = states.StatesFile(path=tmp_path / "x", tokens=len(kept), width=6, dtype=torch.bfloat16)
    file.path.write_bytes(file.bytes_of(kept))
    assert file.exists()
    found = file.open().padded(rows.encoded, np.array([1, 0]))
    start, length = int(rows.encoded.offsets[1]), int(rows.encoded.lengths[1])
    short = int(rows.encoded.lengths[0])
    assert torch.equal(found[0, :length], kept[start : start + length])
    assert torch.equal(found[1, :short], kept[:short])
    assert not found[1, short:].any()


def test_the_name_holds_what_states_depend_on(job: tuple[PrefixJob, list[str]]) -> None:
    """One changed weight, token or setting gives another name; the same ones give the same."""
    encoded, tensor = rows_of(job[0]).encoded, torch.ones(3)
    name = states.digest({"a": 1}, [("w", tensor)], encoded)
    assert name == states.digest({"a": 1}, [("w", torch.ones(3))], encoded)
    others = [
        states.digest({"a": 2}, [("w", tensor)], encoded),
        states.digest({"a": 1}, [("w", torch.tensor([1.0, 1.0, 1.0000001]))], encoded),
    ]
    encoded.ids[2] += 1
    others.append(states.digest({"a": 1}, [("w", tensor)], encoded))
    assert len({name, *others}) == 4


# Two processes train as one in tests/trainer/processes, and one process so in this file.
@pytest.mark.slow
def test_two_processes_train_as_one_does(folder: Path) -> None:
    """Launched on two processes, the frozen layers' states are computed in shares, and losses are one process's."""
    settings = ("model.dropout=0.0", "stages.1.epochs=1")
    one = run(folder, "one", *settings, "stages.0.freeze.cache=false", "stages.1.freeze.cache=false")
    two = folder / "two"
    given = [part for setting in settings for part in ("--set", setting)]
    process = runs.launch("two_cpu_processes", folder / "recipe.yaml", two, *given)
    _, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors
    assert errors.count("is kept in") == 4, errors
    assert_same(one, two)


@pytest.mark.parametrize(
    ("kind", "machines", "reason"), [("FSDP", 1, "FSDP trains a split copy"), ("MULTI_GPU", 2, "several machines")]
)
def test_launches_that_cannot_share_a_file(
    kind: str, machines: int, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sharded weights and several machines are refused, each by its name."""
    launched = SimpleNamespace(distributed_type=DistributedType(kind), num_processes=4)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(4 // machines))
    with pytest.raises(Unsuitable, match=reason):
        prefix._check_launch(launched)
