"""Scores are torch's, whatever the batch, the window, the thread and the output."""

import threading
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from export.bundle import Bundle
from serve import Scorer
from serve.scoring.batching import Encoding, plan
from serve.scoring.long_text import Prefix
from serve.scoring.session import Session
from tests.serve import bundles
from tests.serve.helpers import read_csv, read_jsonl, score, write_csv
from trainer.contract.errors import ClassifactError, InputError

TEXTS = list(dict.fromkeys(bundles.texts(72)))[:70]


def _torch(bundle: Path, texts: list[str], pairs: list[str] | None = None) -> np.ndarray:
    opened = Bundle.open(bundle)
    folder = bundle.parent / f"{bundle.name}-checkpoint"
    return opened.contract.labels.decode(bundles.torch_logits(folder, opened.encoder(), texts, pairs)).probabilities


@pytest.mark.parametrize("name", ["single", "multi"])
def test_probabilities_are_torchs(name: str, request: pytest.FixtureRequest) -> None:
    """fp32 probabilities are within 1e-4 of torch's, in the order of the texts, for both kinds of labels."""
    bundle = request.getfixturevalue(name)
    with Scorer.open(bundle, precision="fp32", workers=2) as scorer:
        found = scorer.predict_proba(TEXTS)
        labels = scorer.predict(TEXTS)
    expected = _torch(bundle, TEXTS)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-4)
    names = np.array(["ham", "spam", "eggs"])
    if name == "single":
        assert labels == names[expected.argmax(axis=1)].tolist()
    else:
        assert labels == [names[row >= 0.5].tolist() for row in expected]


def test_pairs(pair: Path) -> None:
    """Both texts of a pair reach the model, from tuples and from mappings alike."""
    seconds = bundles.texts(70, seed=3)
    with Scorer.open(pair, precision="fp32") as scorer:
        tuples = scorer.predict_proba(list(zip(TEXTS, seconds, strict=True)))
        mappings = scorer.predict_proba([{"text": a, "second": b} for a, b in zip(TEXTS, seconds, strict=True)])
    np.testing.assert_allclose(tuples, _torch(pair, TEXTS, seconds), atol=1e-4)
    np.testing.assert_array_equal(tuples, mappings)


def test_no_texts(single: Path) -> None:
    """No texts give no rows, of the right width."""
    with Scorer.open(single) as scorer:
        assert scorer.predict_proba([]).shape == (0, 3)
        assert scorer.predict([]) == []


@pytest.mark.parametrize("bad", [None, 7, float("nan"), "", b"bytes"])
def test_what_is_no_text(single: Path, bad: object) -> None:
    """A value that is no text is refused with its row's number."""
    with Scorer.open(single) as scorer, pytest.raises(InputError) as error:
        scorer.predict(["fine", bad])
    assert "row 1" in str(error.value)


def test_thresholds_in_python(multi: Path) -> None:
    """`Scorer.open` takes thresholds and decides by them; a label that is none and a misspelt setting are told."""
    with Scorer.open(multi, precision="fp32", thresholds={"spam": 0.52, "eggs": 0.1}) as scorer:
        probabilities, labels = scorer.predict_proba(TEXTS), scorer.predict(TEXTS)
    names = np.array(["ham", "spam", "eggs"])
    assert labels == [names[row >= (0.5, 0.52, 0.1)].tolist() for row in probabilities]
    with pytest.raises(InputError, match="did you mean 'spam'"):
        Scorer.open(multi, thresholds={"spamm": 0.5})
    with pytest.raises(TypeError, match="treshold"):
        Scorer.open(multi, treshold=0.5)  # type: ignore[call-arg]


def test_threads_share_a_scorer(single: Path) -> None:
    """Eight threads on one scorer get what one thread gets."""
    with Scorer.open(single, workers=2) as scorer:
        expected = scorer.predict_proba(TEXTS)
        results: dict[int, np.ndarray] = {}

        def work(number: int) -> None:
            results[number] = scorer.predict_proba(TEXTS)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(results) == 8
    for result in results.values():
        np.testing.assert_array_equal(result, expected)


def test_plan_covers_every_text_once(single: Path) -> None:
    """A plan holds each different text in one batch, within the budget, and maps every row to its text."""
    bundle = Bundle.open(single)
    encoder = bundle.encoder()
    encoding = Encoding(encoder=encoder, prefix=Prefix(encoder))
    texts = [*TEXTS, *TEXTS[:30], "a"]
    made = plan(encoding, texts, None, 100)
    covered = np.concatenate(made.batches)
    assert sorted(covered.tolist()) == list(range(71))
    lengths = made.encoded.lengths
    assert all(len(batch) * lengths[batch].max() <= 100 or len(batch) == 1 for batch in made.batches)
    assert made.padded_tokens == sum(len(batch) * lengths[batch].max() for batch in made.batches)
    assert [TEXTS.index(text) if text in TEXTS else 70 for text in texts] == made.source.tolist()


def test_workers_do_not_change_bytes(single: Path, tmp_path: Path) -> None:
    """int8 output is the same bytes for one worker and for four: batches depend on rows alone."""
    rows = write_csv(tmp_path / "in.csv", bundles.texts(500))
    digests = {
        score(single, rows, out=tmp_path / f"{workers}.csv", precision="int8", workers=workers, window=64)["sha256"]
        for workers in (1, 4)
    }
    assert len(digests) == 1


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "parquet"])
@pytest.mark.parametrize("name", ["single", "multi"])
def test_every_format_holds_the_same(name: str, suffix: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """A scored file of any format holds every row in input order with the scores that Python gets."""
    bundle = request.getfixturevalue(name)
    rows = write_csv(tmp_path / "in.csv", TEXTS)
    out = tmp_path / f"out.{suffix}"
    report = score(bundle, rows, out=out, probabilities=True, window=16)
    assert report["rows_scored"] == len(TEXTS)
    found = _read(out)
    with Scorer.open(bundle, precision="fp32") as scorer:
        labels, probabilities = scorer.predict(TEXTS), scorer.predict_proba(TEXTS)
    assert [row["text"] for row in found] == TEXTS
    multi = name == "multi"
    decided = [row["predictions" if multi else "prediction"] for row in found]
    flat = suffix in ("csv", "tsv") and multi
    assert decided == (["|".join(names) for names in labels] if flat else labels)
    given = np.array([[float(row[f"p_{label}"]) for label in ("ham", "spam", "eggs")] for row in found])
    np.testing.assert_allclose(given, probabilities, atol=1e-6)
    if not multi:
        confidences = [float(row["confidence"]) for row in found]
        np.testing.assert_allclose(confidences, probabilities.max(axis=1), atol=1e-6)


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("name", ["single", "multi"])
def test_the_most_likely_labels(name: str, suffix: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """With top_k each row holds that many labels with their probabilities, largest first, beside all that it holds
    anyway; more than there are means all; a row that is not scored has nulls. The report says how many were asked for.
    """
    bundle = request.getfixturevalue(name)
    rows = write_csv(tmp_path / "in.csv", [*TEXTS, ""])
    with Scorer.open(bundle, precision="fp32") as scorer:
        probabilities, names = scorer.predict_proba(TEXTS), scorer.labels.names
    for top_k, count in ((2, 2), (9, 3)):
        out = tmp_path / f"out{top_k}.{suffix}"
        report = score(bundle, rows, out=out, probabilities=True, on_error="null", window=16, prefix="m_", top_k=top_k)
        assert report["job"]["top_k"] == top_k
        *found, last = _read(out)
        flat = suffix == "csv"
        assert (last["m_top_labels"], last["m_top_confidences"]) == (("", "") if flat else (None, None))
        for row, expected in zip(found, probabilities, strict=True):
            order = np.argsort(-expected)[:count]
            labels, values = row["m_top_labels"], row["m_top_confidences"]
            given = (
                (str(labels).split("|"), [float(each) for each in str(values).split("|")]) if flat else (labels, values)
            )
            assert given[0] == [names[label] for label in order]
            np.testing.assert_allclose(given[1], expected[order], atol=1e-6)


def test_another_top_k_is_another_job(single: Path, tmp_path: Path) -> None:
    """A job cannot be gone on with under another number of labels: its rows would have other columns."""
    rows, out = write_csv(tmp_path / "in.csv", TEXTS), tmp_path / "out.csv"
    score(single, rows, out=out, top_k=2)
    with pytest.raises(InputError, match="the job to resume was another one: top_k differs"):
        score(single, rows, out=out, top_k=3, resume=True)


def _read(path: Path) -> list[dict[str, object]]:
    if path.suffix == ".parquet":
        return list(pq.read_table(path).to_pylist())
    if path.suffix == ".jsonl":
        return read_jsonl(path)
    return list(read_csv(path, "\t" if path.suffix == ".tsv" else ","))


def test_nan_logits(single: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row for which the model gives NaN becomes an error row, and an error in Python; other rows are scored."""
    run = Session.run

    def broken(self: Session, batch: object) -> np.ndarray:
        logits = run(self, batch)  # type: ignore[arg-type]
        logits[batch.ids[:, 1] == batch.ids[:, 1].max()] = np.nan  # type: ignore[attr-defined]
        return logits

    monkeypatch.setattr(Session, "run", broken)
    rows = write_csv(tmp_path / "in.csv", TEXTS)
    report = score(single, rows, out=tmp_path / "out.csv", window=16, canary=False)
    assert report["reasons"] == {"nan_logits": report["rows_rejected"]}
    assert report["rows_rejected"] + report["rows_scored"] == len(TEXTS)
    assert 0 < report["rows_scored"] == len(read_csv(tmp_path / "out.csv"))
    with Scorer.open(single) as scorer, pytest.raises(ClassifactError, match="no number"):
        scorer.predict(TEXTS)
