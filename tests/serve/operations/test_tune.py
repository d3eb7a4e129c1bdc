"""Tuning finds settings once, keeps them by machine and bundle, and changes no label."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import serve.job
import serve.operations.tune
import serve.scorer
from export.bundle import Bundle
from serve.cli import main
from serve.operations.tune import Tuned, cached, tune
from serve.scorer import Scorer
from serve.scoring.session import CUDA
from serve.scoring.settings import ScorerOptions
from serve.writing.rejects import ErrorBound
from tests.serve import bundles
from tests.serve.helpers import read_csv, score, write_csv
from trainer.contract.errors import ClassifactError

_NONE = ErrorBound.parse("0")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(serve.operations.tune, "_SECONDS", 0.01)
    return tmp_path / "cache"


def _rates(monkeypatch: pytest.MonkeyPatch, rate: Any) -> None:
    monkeypatch.setattr(serve.operations.tune, "_rate", lambda scorer, *_: float(rate(scorer)))


def test_the_fastest_wins(single: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the settings that are measured the fastest is kept, and found again; what is no faster changes nothing."""
    bundle, given = Bundle.open(single), ScorerOptions(workers=2)
    assert cached(bundle, given) is None
    _rates(monkeypatch, lambda scorer: 1000 - abs(scorer.batch_tokens - 512) - 50 * scorer.workers)
    best = tune(bundle, given, ["a", "b"])
    assert (best.batch_tokens, best.workers, best.threads, best.arena) == (512, 1, 2, False)
    assert cached(bundle, given) == best


def test_noise_does_not_move_settings(single: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gain within the noise keeps the settings that the bundle was proven with."""
    rates = iter([1000.0] + [1020.0] * 20)
    _rates(monkeypatch, lambda _: next(rates))
    best = tune(Bundle.open(single), ScorerOptions(workers=2), ["a"])
    assert (best.batch_tokens, best.workers, best.threads) == (bundles.BATCH_TOKENS, 2, 1)


def test_gpus_get_large_batches_and_their_own_workers(single: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On two GPUs every budget is tried, on all texts, and each device has two workers, in tuning and after it."""
    real = serve.scorer.open_sessions

    def on_two(bundle: Bundle, options: Any) -> list[Any]:
        # No GPU is here: the processor's session under a GPU's name.
        sessions = [*real(bundle, options), *real(bundle, options)]
        for session in sessions:
            session.provider = CUDA
        return sessions

    monkeypatch.setattr(serve.scorer, "open_sessions", on_two)
    seen: list[tuple[int, int]] = []
    rows: set[int] = set()

    def rate(scorer: Scorer, texts: list[str], _: object) -> float:
        seen.append((scorer.batch_tokens, scorer.workers))
        rows.add(len(texts))
        return float(scorer.batch_tokens)

    monkeypatch.setattr(serve.operations.tune, "_rate", rate)
    bundle, given = Bundle.open(single), ScorerOptions(thresholds={"spam": 0.9})
    best = tune(bundle, given, ["a"] * 4000)
    assert seen[0][0] == 32768, "a GPU starts where a GPU is fast, not at the bundle's budget"
    assert (best.batch_tokens, best.workers) == (262144, 2)
    assert {workers for _, workers in seen} == {4}
    assert rows == {4000}
    with Scorer(bundle, best.options(given)) as scorer:
        assert (scorer.workers, scorer.thresholds) == (4, {"spam": 0.9})


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_permissions_of_the_cache(single: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache that may not be written costs the cache, not the job."""
    _rates(monkeypatch, lambda _: 1)
    cache.mkdir()
    cache.chmod(0)
    assert tune(Bundle.open(single), ScorerOptions(), ["a"]).batch_tokens == bundles.BATCH_TOKENS


def test_a_cache_that_cannot_be_written(single: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file in the place of the cache's folder costs the cache, which is said, and not the job."""
    _rates(monkeypatch, lambda _: 1)
    cache.write_text("")
    said: list[str] = []
    bundle = Bundle.open(single)
    assert tune(bundle, ScorerOptions(), ["a"], say=said.append).batch_tokens == bundles.BATCH_TOKENS
    assert "not kept" in said[-1]
    assert cached(bundle, ScorerOptions()) is None


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"batch_tokens": "many"}', "\xff"])
def test_a_damaged_cache_is_none(single: Path, content: str) -> None:
    """A cache that holds no settings is measured anew."""
    bundle = Bundle.open(single)
    path = serve.operations.tune.cache_path(bundle, ScorerOptions())
    path.parent.mkdir(parents=True)
    path.write_text(content)
    assert cached(bundle, ScorerOptions()) is None


def test_a_lull_does_not_win(single: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings that were fast once, and are no faster in turns with the first, are not kept."""
    rates = iter([1000.0, 5000.0] + [1000.0] * 30)
    _rates(monkeypatch, lambda _: next(rates))
    best = tune(Bundle.open(single), ScorerOptions(workers=2), ["a"])
    assert (best.batch_tokens, best.workers, best.threads) == (bundles.BATCH_TOKENS, 2, 1)


def test_another_bundle_is_not_tuned(single: Path, multi: Path) -> None:
    """Settings are kept for one bundle and one precision."""
    tune(Bundle.open(single), ScorerOptions(), ["a", "b"])
    assert cached(Bundle.open(multi), ScorerOptions()) is None


def test_damaged_cache_is_ignored(single: Path, cache: Path) -> None:
    """A cache that cannot be read counts as none."""
    tune(Bundle.open(single), ScorerOptions(), ["a", "b"])
    next(cache.rglob("*.json")).write_text("{")
    assert cached(Bundle.open(single), ScorerOptions()) is None


def test_users_word_wins(single: Path) -> None:
    """What the user sets is not tuned away."""
    tuned = Tuned(batch_tokens=64, workers=1, threads=2, arena=False, tokens_per_second=1.0)
    options = tuned.options(ScorerOptions(workers=3))
    with Scorer(Bundle.open(single), options) as scorer:
        assert (scorer.workers, scorer.batch_tokens, scorer.threads) == (3, 64, 2)


def test_tuned_job(single: Path, tmp_path: Path, cache: Path) -> None:
    """A tuned job tunes once, and gives the same rows."""
    rows = write_csv(tmp_path / "in.csv", bundles.texts(100))
    plain = score(single, rows, out=tmp_path / "plain.csv")
    tuned = score(single, rows, out=tmp_path / "tuned.csv", tuned=True)
    assert tuned["rows_scored"] == plain["rows_scored"]
    labels = [[row["prediction"] for row in read_csv(tmp_path / name)] for name in ("plain.csv", "tuned.csv")]
    assert labels[0] == labels[1]
    path = next(cache.rglob("*.json"))
    assert json.loads(path.read_text())["batch_tokens"] == tuned["job"]["batch_tokens"]


def test_resumed_job_keeps_its_settings(single: Path, tmp_path: Path, cache: Path) -> None:
    """A tuned job that was interrupted goes on with its own settings, whatever the cache says by then."""
    rows = write_csv(tmp_path / "in.csv", [*bundles.texts(60), "", *bundles.texts(60, seed=5)])
    whole = score(single, rows, out=tmp_path / "whole.csv", precision="int8", window=32, tuned=True)
    with pytest.raises(ClassifactError, match="too many rows"):
        score(single, rows, out=tmp_path / "out.csv", precision="int8", window=32, tuned=True, max_errors=_NONE)
    path = next(cache.rglob("*.json"))
    path.write_text(json.dumps({**json.loads(path.read_text()), "batch_tokens": 77}))
    report = score(single, rows, out=tmp_path / "out.csv", precision="int8", window=32, tuned=True, resume=True)
    assert report["sha256"] == whole["sha256"]


def test_long_job_is_tuned(single: Path, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long job tunes itself, once; a short one, a share of one and one that was told not to keep the bundle's
    settings.
    """
    rows = write_csv(tmp_path / "in.csv", bundles.texts(100))
    _rates(monkeypatch, lambda scorer: 1000 - abs(scorer.batch_tokens - 512))

    def settings(name: str, **options: Any) -> int:
        return int(score(single, rows, out=tmp_path / name, **options)["job"]["batch_tokens"])

    assert settings("short.csv") == bundles.BATCH_TOKENS
    monkeypatch.setattr(serve.job, "LONG_BYTES", 1)
    assert settings("told.csv", tuned=False) == bundles.BATCH_TOKENS
    assert settings("shared.csv", shard=(1, 2)) == bundles.BATCH_TOKENS
    assert not list(cache.rglob("*.json"))
    assert settings("long.csv") == 512
    _rates(monkeypatch, lambda _: pytest.fail("tuned twice"))
    assert settings("again.csv") == 512


def test_resumed_job_needs_no_tuning(
    single: Path, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job that tuned itself is resumed, and repeated when it is whole, by its journal, not by the cache."""
    monkeypatch.setattr(serve.job, "LONG_BYTES", 1)
    _rates(monkeypatch, lambda scorer: 1000 - abs(scorer.batch_tokens - 512))
    rows = write_csv(tmp_path / "in.csv", [*bundles.texts(60), "", *bundles.texts(60, seed=5)])
    options = {"precision": "int8", "window": 32}
    whole = score(single, rows, out=tmp_path / "whole.csv", **options)
    with pytest.raises(ClassifactError, match="too many rows"):
        score(single, rows, out=tmp_path / "out.csv", max_errors=_NONE, **options)
    next(cache.rglob("*.json")).unlink()
    _rates(monkeypatch, lambda _: pytest.fail("tuned again"))
    for _ in range(2):
        report = score(single, rows, out=tmp_path / "out.csv", resume=True, **options)
        assert (report["sha256"], report["job"]["batch_tokens"]) == (whole["sha256"], 512)


def test_command(single: Path, tmp_path: Path) -> None:
    """`tune` shows what it measures, unless it is to be quiet, and ends in what it chose and JSON, on rows of a file or
    on the golden rows.
    """
    rows = write_csv(tmp_path / "in.csv", bundles.texts(50))
    for inputs in (["--quiet"], [str(rows)]):
        result = CliRunner().invoke(main, ["tune", str(single), *inputs])
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout.splitlines()[-1])["batch_tokens"] > 0
        assert result.stdout.splitlines()[-2].startswith("fastest: ")
        assert ("tokens a batch" in result.stderr) is (inputs != ["--quiet"])
