"""`predict`: a few texts, every label with its percentage; thresholds that are given decide, there and in a job."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from export.bundle import Bundle
from serve import Scorer
from serve.cli import main
from serve.operations.check import check
from serve.operations.dry_run import Forecast, forecast_sentence
from serve.scoring.settings import ScorerOptions
from serve.scoring.thresholds import parse_thresholds, with_thresholds
from tests.serve import bundles
from tests.serve.helpers import read_csv, write_csv
from trainer.contract.errors import InputError
from trainer.contract.labels import LabelSpace


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def _last(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return found


def test_percentages_most_likely_first(single: Path) -> None:
    """Each text is followed by all labels, the likeliest first, as percentages; the last line is JSON of the same."""
    result = _run("predict", single, "--text", "win a free prize", "--text", "see you", "--precision", "fp32")
    found = _last(result)["predictions"]
    lines = result.stdout.splitlines()
    assert [lines[0], lines[4], len(lines)] == ["win a free prize", "see you", 9]
    with Scorer.open(single, precision="fp32") as scorer:
        expected = scorer.predict_proba(["win a free prize", "see you"])
        assert [row["labels"] for row in found] == [
            [label] for label in scorer.predict(["win a free prize", "see you"])
        ]
    for row, probabilities in zip(found, expected, strict=True):
        assert list(row["probabilities"].values()) == pytest.approx(sorted(probabilities, reverse=True))
        assert row["probabilities"]["spam"] == pytest.approx(probabilities[1])
    first = next(iter(found[0]["probabilities"].items()))
    assert lines[1].split() == ["*", first[0], f"{100 * first[1]:.2f}", "%"]


def test_only_json_and_only_the_first_labels(multi: Path) -> None:
    """--json leaves the one line; --top-k as many labels as it says, though more are given."""
    result = _run("predict", multi, "--text", "x", "--json", "--top-k", 1)
    assert len(result.stdout.splitlines()) == 1
    assert len(_last(result)["predictions"][0]["probabilities"]) == 1


def test_several_columns_are_json(pair: Path) -> None:
    """A pair is given as a JSON object; anything else is refused with an example that works."""
    row = {"text": "win", "second": "lose"}
    found = _last(_run("predict", pair, "--text", json.dumps(row), "--precision", "fp32"))
    with Scorer.open(pair, precision="fp32") as scorer:
        assert found["predictions"][0]["labels"] == scorer.predict([row])
    for wrong in (
        "win",
        '["win", "lose"]',
        '{"text": "win"}',
        '{"text": "a", "second": "b", "third": "c"}',
        "[" * 9999,
    ):
        result = _run("predict", pair, "--text", wrong)
        assert result.exit_code == 1
        assert """--text '{"text": "...", "second": "..."}'""" in result.stderr


def test_one_column_is_read_as_it_is(single: Path) -> None:
    """Where the model reads one text, a text that looks like JSON is one as well."""
    text = '{"text": "win"}'
    found = _last(_run("predict", single, "--text", text, "--precision", "fp32"))
    with Scorer.open(single, precision="fp32") as scorer:
        assert found["predictions"][0]["labels"] == scorer.predict([text])


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, "--text"),
        (["--text", " "], 1, "is empty"),
        (["--text", "x", "--threshold", "spam"], 2, "NAME=NUMBER"),
        (["--text", "x", "--threshold", "spam=much"], 2, "'much'"),
        (["--text", "x", "--threshold", "spam=1.5"], 2, "between 0 and 1"),
        (["--text", "x", "--threshold", "spm=0.5"], 1, "did you mean 'spam'?"),
        (["--text", "x", "--threshold", "spam=0.5", "--threshold", "spam=0.6"], 2, "once"),
    ],
)
def test_wrong_arguments(single: Path, arguments: list[str], code: int, words: str) -> None:
    """What cannot be is refused, by name, with the exit code of its kind."""
    result = _run("predict", single, *arguments)
    assert (result.exit_code, "Traceback" in result.output) == (code, False)
    assert words in result.stderr


@pytest.mark.parametrize("name", ["single", "multi"])
def test_thresholds_decide(name: str, request: pytest.FixtureRequest) -> None:
    """A threshold of nearly nothing gives its label to every row, one of nearly everything to none."""
    bundle = Bundle.open(request.getfixturevalue(name))
    texts = bundles.texts(50)
    for value, share in ((1e-6, 1.0), (1 - 1e-6, 0.0)):
        given = {"spam": value} if name == "multi" else {"spam": value, "ham": 0.5, "eggs": 0.5}
        with Scorer(bundle, ScorerOptions(thresholds=given)) as scorer:
            spam = ["spam" in (row if name == "multi" else [row]) for row in scorer.predict(texts)]
        assert (sum(spam) / 50 == share) if name == "multi" or share else (sum(spam) < 50)


def test_thresholds_of_two_labels() -> None:
    """Of two labels one threshold is enough: the label is given where its probability reaches it."""
    space = LabelSpace(names=("ham", "spam"))
    assert with_thresholds(space, {"spam": 0.7}).thresholds == pytest.approx((0.3, 0.7))
    assert with_thresholds(space, {"ham": 0.2}).thresholds == pytest.approx((0.2, 0.8))
    assert with_thresholds(space, {"ham": 0.4, "spam": 0.7}).thresholds == (0.4, 0.7)
    assert with_thresholds(space, {}) is space
    three = LabelSpace(names=("a", "b", "c"), thresholds=(0.2, 0.3, 0.4))
    assert with_thresholds(three, {"b": 0.9}).thresholds == (0.2, 0.9, 0.4)
    assert parse_thresholds(("a=b=0.5",)) == {"a=b": 0.5}
    with pytest.raises(InputError):
        with_thresholds(space, {"spam": float("nan")})


def test_a_job_records_thresholds(multi: Path, tmp_path: Path) -> None:
    """A job decides by the thresholds given, its report holds them, and a resume with others is refused."""
    rows = write_csv(tmp_path / "in.csv", bundles.texts(20))
    command = [
        "score",
        multi,
        rows,
        "--out",
        tmp_path / "out.csv",
        "--threshold",
        "spam=0.000001",
        "--precision",
        "fp32",
    ]
    assert _last(_run(*command))["thresholds"] == {"spam": 1e-6}
    assert all("spam" in row["predictions"].split("|") for row in read_csv(tmp_path / "out.csv"))
    report = json.loads((tmp_path / "out.csv.report.json").read_text())
    assert report["thresholds"] == {"spam": 1e-6}
    command[6] = "spam=0.5"
    assert _run(*command, "--resume").exit_code == 1


def test_thresholds_do_not_move_the_canary(single: Path) -> None:
    """The golden rows are decided as the bundle says, whatever a user's thresholds."""
    given = ScorerOptions(thresholds={"spam": 0.001, "ham": 0.99, "eggs": 0.99})
    with Scorer(Bundle.open(single), given) as scorer:
        assert check(scorer).passed


def test_bench_says_its_rate(single: Path, tmp_path: Path) -> None:
    """The first line of `bench` is the rate, for people."""
    result = _run("bench", single, write_csv(tmp_path / "in.csv", bundles.texts(20)), "--quiet")
    assert f"{_last(result)['rows_per_second']:,} rows/s" in result.stdout.splitlines()[0]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.004, "about 1 s"),
        (42.4, "about 42 s"),
        (150.0, "about 2 min 30 s"),
        (36_000.0, "about 10 h 00 min"),
        (None, "unknown time"),
    ],
)
def test_a_forecast_in_words(seconds: float | None, words: str) -> None:
    """A short job takes seconds, not "0.00 hours"; a long one hours."""
    rest = dict.fromkeys(("rejected_share", "tokens_per_row", "truncated_share", "padding_share"), 0.0)
    found = Forecast(sampled_rows=9, rows=1000, rows_per_second=10.0, seconds=seconds, cost=None, **rest)
    assert forecast_sentence(found).endswith(words)
