"""One processor and sixty-four: tuning, scoring and the proofs of an export give what they give on this machine."""

from pathlib import Path

import numpy as np
import pytest

import serve.operations.tune
from export.bundle import Bundle
from export.proof.runtime import open_session, run_batches
from serve.operations.tune import Tuned, cache_path, tune
from serve.scorer import Scorer
from serve.scoring.settings import ScorerOptions
from tests.serve.helpers import score, write_csv

USERS = ("serve.scorer.cpu_count", "serve.operations.tune.cpu_count", "export.proof.runtime.cpu_count")
TEXTS = [f"win a prize {'now ' * (number % 30)}{number}" for number in range(200)]


def have(cores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every part that counts processors find so many."""
    for name in USERS:
        monkeypatch.setattr(name, lambda: cores)


@pytest.mark.parametrize(("cores", "tried"), [(1, set()), (64, {(1, 64), (32, 2)})])
def test_tuning_tries_what_the_cores_allow(
    cores: int, tried: set[tuple[int, int]], single: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one core there is nothing to spread; with 64 fewer workers get more threads each, never more than there are
    cores; and settings of another number of cores are not found.
    """
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(serve.operations.tune, "_rate", lambda *_: 1.0)
    bundle, given = Bundle.open(single), ScorerOptions()
    real, seen = Tuned.options, set[tuple[int, int]]()

    def watched(self: Tuned, options: ScorerOptions) -> ScorerOptions:
        seen.add((self.workers, self.threads))
        return real(self, options)

    monkeypatch.setattr(Tuned, "options", watched)
    have(cores, monkeypatch)
    best = tune(bundle, given, TEXTS[:5])
    assert (best.workers, best.threads) == (cores, 1)
    assert seen == {(cores, 1), *tried}
    here = cache_path(bundle, given)
    have(cores + 1, monkeypatch)
    assert cache_path(bundle, given) != here


def test_a_job_is_the_same_bytes_on_one_core_and_on_many(
    single: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number of cores is the number of workers, and changes nothing in the output."""
    rows = write_csv(tmp_path / "rows.csv", TEXTS)
    written = []
    for cores in (1, 64):
        have(cores, monkeypatch)
        with Scorer.open(single) as scorer:
            assert scorer.workers == cores
        out = tmp_path / f"{cores}.csv"
        score(single, rows, out=out, precision="auto", workers=None)
        written.append(out.read_bytes())
    assert written[0] == written[1]


def test_proofs_of_an_export_are_the_same_on_one_core_and_on_many(
    single: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Logits of more batches than cores, and of fewer, come in the order of the batches."""
    bundle = Bundle.open(single)
    encoder = bundle.encoder()
    encoded = encoder.encode(TEXTS[:40])
    batches = [encoder.pad(encoded, rows) for rows in np.array_split(np.arange(40), 20)]
    session = open_session(bundle.graph_path("fp32"))
    found = []
    for cores in (1, 64):
        have(cores, monkeypatch)
        found.append(np.concatenate(run_batches(session, batches)))
    np.testing.assert_array_equal(*found)
