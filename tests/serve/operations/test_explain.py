"""`explain`: on scorers whose function is known, the words that decide come first and the figures are true."""

import json
import re
import tracemalloc
from collections.abc import Callable, Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from click.testing import CliRunner, Result

from export.bundle import Bundle
from serve import Scorer
from serve.cli import main
from serve.operations.explain import explain_row
from serve.operations.explain_page import Explained, explanation_lines, page
from serve.operations.predict import predict
from tests.serve.helpers import write_csv
from trainer.contract.errors import BadRow, ClassifactError, InputError
from trainer.contract.explaining.explain import ExplainOptions, Explanation, local_model, log_odds
from trainer.contract.explaining.telling import sentences
from trainer.contract.explaining.words import MOST_UNITS, cut_row, split_words
from trainer.contract.inputs import InputSpec
from trainer.contract.labels import LabelSpace
from trainer.contract.visible import visible

TEXT = InputSpec(text=("text",))
WORTH = {"prize": 3.0, "free": 1.5, "home": -2.0, "see": -0.5}


class Known(Scorer):
    """A scorer whose second label has the log-odds that a function gives the text and pair."""

    def __init__(
        self, function: Callable[[str, str], float], spec: InputSpec = TEXT, labels: LabelSpace | None = None
    ) -> None:
        self.labels = labels or LabelSpace(names=("ham", "spam"))
        self.bundle = cast("Bundle", SimpleNamespace(contract=SimpleNamespace(input=spec)))
        self.function = function
        self.most = 0

    def logits(
        self, texts: Sequence[str], pairs: Sequence[str] | None = None, batch_tokens: int | None = None
    ) -> np.ndarray:
        """0 for each label but the second."""
        assert batch_tokens is None
        self.most = max(self.most, len(texts))
        found = np.zeros((len(texts), len(self.labels)), dtype=np.float32)
        found[:, 1] = [self.function(*row) for row in zip(texts, pairs or [""] * len(texts), strict=True)]
        return found


def linear(text: str, pair: str = "") -> float:
    """The sum of the words' worth, less one."""
    return sum(WORTH.get(word, 0.0) for word in f"{text} {pair}".split()) - 1.0


def explained(scorer: Scorer, row: str | Mapping[str, object], **options: Any) -> Explanation:
    """One row with few samples."""
    record = {"text": row} if isinstance(row, str) else row
    return explain_row(scorer, record, ExplainOptions(**{"samples": 500, **options}))


def words_of(text: str) -> list[str]:
    """The words of a text."""
    return [text[start:end] for start, end in split_words(text)]


@pytest.mark.parametrize("by", ["lime", "occlusion"])
def test_a_linear_function_is_found(by: str) -> None:
    """Both methods give each word its worth, the largest first, and the local model fits."""
    (label,) = explained(Known(linear), "see a free prize at home now and then", by=by).labels
    assert [word.word for word in label.words[:4]] == ["prize", "home", "free", "see"]
    assert label.label == "spam"
    for word in label.words:
        assert word.occlusion == pytest.approx(WORTH.get(word.word, 0.0), abs=1e-5)
        assert word.lime == pytest.approx(WORTH.get(word.word, 0.0), abs=0.15)
    assert label.fit is not None
    assert label.fit > 0.98


def test_a_function_of_parity_does_not_fit() -> None:
    """Where words act together alone, R^2 is low and a sentence says that the weights are not to be trusted."""
    scorer = Known(lambda text, _: 3.0 if len(text.split()) % 2 == 0 else -3.0)
    found = explained(scorer, "one two three four five six seven eight")
    fit = found.labels[0].fit
    assert fit is not None
    assert fit < 0.3
    assert "not to be trusted" in " ".join(sentences(found, found.labels[0]))


def test_fit_is_not_flattered_by_many_words() -> None:
    """A function of chance has no fit with nearly as many words as texts, though its own texts would give it one."""
    generator = np.random.default_rng(0)
    keeps = generator.random((300, 200)) < 0.5
    target = generator.normal(size=300)
    weights, fit = local_model(keeps, target)
    assert fit is not None
    assert fit < 0.1
    assert np.corrcoef(keeps @ weights, target)[0, 1] ** 2 > 0.3


def test_the_local_model_is_weighted_ridge() -> None:
    """Weights equal scikit-learn's, R^2 that of fits from which one text was left out."""
    ridge = pytest.importorskip("sklearn.linear_model").Ridge
    generator = np.random.default_rng(1)
    keeps = generator.random((60, 6)) < 0.6
    keeps[0] = True
    target = keeps @ generator.normal(size=6) + generator.normal(size=60)
    near = np.exp(-(((100 * (1 - np.sqrt(keeps.mean(axis=1)))) / 25) ** 2) / 2)
    weights, fit = local_model(keeps, target)
    assert weights == pytest.approx(ridge(alpha=1.0).fit(keeps, target, sample_weight=near).coef_)
    missed = missed_by_mean = 0.0
    for row in range(60):
        rest = np.arange(60) != row
        model = ridge(alpha=1.0).fit(keeps[rest], target[rest], sample_weight=near[rest])
        missed += near[row] * (target[row] - model.predict(keeps[row : row + 1])[0]) ** 2
        missed_by_mean += near[row] * (target[row] - np.average(target[rest], weights=near[rest])) ** 2
    assert fit == pytest.approx(1 - missed / missed_by_mean)


def test_the_same_call_gives_the_same() -> None:
    """A seed fixes every figure; another seed moves LIME's weights a little."""
    scorer = Known(lambda text, _: linear(text) ** 2 / 3)
    first, again = (explained(scorer, "see a free prize at home") for _ in range(2))
    assert first == again
    other = explained(scorer, "see a free prize at home", seed=1).labels[0]
    assert other.words != first.labels[0].words
    assert other.words[0].word == first.labels[0].words[0].word


def test_random_words_do_as_well_where_the_text_is_ignored() -> None:
    """Where a scorer moves by rounding alone there is no fit and other words do as well; a deciding word matters."""
    ignoring = explained(
        Known(lambda text, _: 2.0 + 1e-5 * (len(text) % 7)), "a free prize for you at home today now ok"
    )
    (label,) = ignoring.labels
    assert label.fit is None
    assert label.deletion is not None
    assert not label.deletion.matters
    assert "Other words do as well" in label.deletion.sentence("spam")
    little = explained(Known(lambda text, _: linear(text) / 100), "a free prize for you today and not tomorrow ok")
    assert little.labels[0].words[0].word == "prize"
    assert little.labels[0].deletion is not None
    assert not little.labels[0].deletion.matters
    deciding = explained(Known(linear), "a free prize for you today and not tomorrow ok").labels[0].deletion
    assert deciding is not None
    assert deciding.matters
    assert deciding.words == 2
    assert deciding.before == pytest.approx(1 / (1 + np.exp(-3.5)))
    assert deciding.without_top == pytest.approx(1 / (1 + np.exp(1.0)))
    assert deciding.without_others == pytest.approx(deciding.before)


@pytest.mark.parametrize("text", ["", "!!! ...", "prize"])
def test_few_words(text: str) -> None:
    """No word and one word are explained by a sentence, without a deletion test."""
    scorer = Known(linear, InputSpec(text=("text",), on_null="empty"))
    found = explained(scorer, text)
    (label,) = found.labels
    assert [word.word for word in label.words] == words_of(text)
    assert label.deletion is None
    assert ("no words" in " ".join(sentences(found, label))) == (text != "prize")
    list(explanation_lines(Explained(name="", explanation=found), 10))
    page("x", [Explained(name="", explanation=found)], "lime", 10)
    with pytest.raises(BadRow):
        explained(Known(linear), "")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don't  stop—now, x.com: 3.14!", ["Don't", "stop", "now", "x.com", "3.14"]),
        ("pay £100 or 'else'", ["pay", "£100", "or", "else"]),
        ("нет, été e\u0301te\u0301 हिन्दी", ["нет", "été", "e\u0301te\u0301", "हिन्दी"]),
        ("我喜欢 ok", ["我", "喜", "欢", "ok"]),
        ("wow 😀👍🏽 \U0001f468\u200d\U0001f469 yes", ["wow", "😀👍🏽", "\U0001f468\u200d\U0001f469", "yes"]),
        ("\u202eevil\u202c \u0301x", ["evil", "x"]),
        ("", []),
    ],
)
def test_words_of_any_script(text: str, expected: list[str]) -> None:
    """Letters with their marks, numbers, currency, emoji and lone ideographs are words; nothing else is."""
    assert words_of(text) == expected


def test_what_is_between_words_stays() -> None:
    """A word that is left out takes nothing with it, and with all words kept the model's very text comes out."""
    spec = InputSpec(text=("title", "body"), pair="second", join=" | ", on_null="empty", unescape_html=True)
    record = {"title": "A &amp;gt b", "body": " c,\td!", "second": "e  f"}
    row = cut_row(record, spec)
    everything = np.ones(len(row.units), dtype=np.bool_)
    assert row.without(everything) == spec.read(record) == ("A &gt b |  c,\td!", "e  f")
    assert [(unit.column, row.shown(unit)) for unit in row.units] == [
        ("title", "A"), ("title", "gt"), ("title", "b"), ("body", "c"), ("body", "d"), ("second", "e"), ("second", "f")
    ]  # fmt: skip
    keep = everything.copy()
    keep[[2, 4, 5]] = False
    assert row.without(keep) == ("A &gt  |  c,\t!", "  f")


def test_columns_and_pairs_keep_their_words() -> None:
    """The same word has its own weight in each column, and in the pair."""
    spec = InputSpec(text=("title", "body"), pair="second", join=" | ")
    scorer = Known(lambda text, pair: 2.0 * text.startswith("prize") + 4.0 * ("prize" in pair), spec)
    (label,) = explained(scorer, {"title": "prize now", "body": "a prize", "second": "any prize"}).labels
    found = [(word.unit.column, word.word, round(word.occlusion, 3)) for word in label.words[:2]]
    assert found == [("second", "prize", 4.0), ("title", "prize", 2.0)]
    assert {word.occlusion for word in label.words if word.unit.column == "body"} == {0.0}


def test_labels_that_are_explained() -> None:
    """Of several labels those given, else the likeliest; or those named, and a name that is none is told."""
    space = LabelSpace(names=("a", "b", "c"), kind="multi", thresholds=(0.4, 0.6, 0.9))
    scorer = Known(linear, labels=space)
    assert [(label.label, label.given) for label in explained(scorer, "free prize").labels] == [
        ("a", True),
        ("b", True),
    ]
    nothing = Known(linear, labels=LabelSpace(names=("a", "b"), kind="multi", thresholds=(0.9, 0.9)))
    assert [(label.label, label.given) for label in explained(nothing, "nothing here").labels] == [("a", False)]
    assert [label.label for label in explained(scorer, "free", labels=("c", "b", "c")).labels] == ["c", "b"]
    with pytest.raises(InputError, match="is not one"):
        explained(scorer, "free", labels=("d",))


def test_log_odds_of_certain_rows() -> None:
    """Log-odds are exact where the probability rounds to 1, and are those of the calibrated probability."""
    logits = np.array([[0.0, 200.0, -5.0], [1.0, 2.0, 3.0]], dtype=np.float32)
    single = LabelSpace(names=("a", "b", "c"), temperature=2.0)
    found = log_odds(single, logits, 1)
    assert found[0] == pytest.approx(100 - np.logaddexp(0, -2.5))
    chance = float(single.decode(logits).probabilities[1, 1])
    assert found[1] == pytest.approx(np.log(chance / (1 - chance)), abs=1e-5)
    multi = LabelSpace(names=("a", "b", "c"), kind="multi", temperature=2.0)
    assert log_odds(multi, logits, 1) == pytest.approx([100.0, 1.0])


def test_a_model_that_gives_no_number_is_an_error() -> None:
    """NaN for a text with words left out is told, not fitted."""
    with pytest.raises(ClassifactError, match="no number"):
        explained(Known(lambda text, _: linear(text) if "free" in text else float("nan")), "free prize")


def test_long_texts_stay_in_bounds() -> None:
    """A text of 20,000 words has at most 512 units, few texts at a time and little memory."""
    scorer = Known(lambda text, _: float("prize" in text))
    text = "word " * 19_000 + "prize " + "word " * 999
    tracemalloc.start()
    try:
        found = explained(scorer, text, samples=100)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(found.row.units) <= MOST_UNITS
    assert found.row.group == 40
    assert "prize" in found.labels[0].words[0].word
    assert scorer.most * len(text) <= 4_000_000
    assert peak < 100e6
    assert "40 neighbouring words" in " ".join(sentences(found, found.labels[0]))
    assert len(page("x", [Explained(name="", explanation=found)], "lime", 10)) < 100_000


class Tags(HTMLParser):
    """What a page consists of."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag."""
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        """Note a text."""
        self.text += data


def test_hostile_rows_are_inert() -> None:
    """Markup and bidi controls of texts, columns, labels and names are harmless text in the page and the terminal."""
    evil = "<script>alert(1)</script> \u202eprize\u202c \x1b[31m \"><img src=x onerror='x'> &amp;"
    spec = InputSpec(text=("<b>x", "y"), on_null="empty")
    labels = LabelSpace(names=("ham", "<script>\u202e"))
    found = Explained(
        name="<i>1", explanation=explained(Known(linear, spec, labels), {"<b>x": evil, "y": ""}, labels=labels.names)
    )
    written = page("<title>\u202e", [found], "lime", 10)
    tags = Tags()
    tags.feed(written)
    assert set(tags.tags).isdisjoint({"script", "img", "b", "i", "a", "link", "iframe", "svg"})
    assert not [name for name in tags.attributes if name.startswith("on") or name in ("src", "href")]
    assert "http" not in written.replace("http-equiv", "")
    assert "<script>alert(1)</script>" in tags.text
    told = "\n".join(explanation_lines(found, 10))
    for shown in (written, told):
        assert not set(shown) & set("\u202e\u202c\x1b")
        assert "\\u202e" in shown
    assert "color-scheme: light dark" in written
    assert visible("a\u2066b\x9bc\U000e0041") == "a\\u2066b\\x9bc\\U000e0041"


def test_predictions_move_no_terminal() -> None:
    """`predict` spells the controls of typed texts and of an untrusted bundle's labels as escapes, too."""
    scorer = Known(linear, labels=LabelSpace(names=("ham", "\x1b[2Jspam")))
    scorer.scores = lambda rows: scorer.labels.decode(scorer.logits([row["text"] for row in rows]))  # type: ignore[method-assign]
    (found,) = predict(scorer, ["free \u202eprize"], explained=True)
    told = "\n".join(found.lines())
    assert not set(told) & set("\u202e\x1b")
    assert told.count("\\x1b[2Jspam") >= 2
    assert found.labels == ["\x1b[2Jspam"]


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def _last(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return found


def test_rows_of_a_file(single: Path, tmp_path: Path) -> None:
    """Rows by number, in the order asked for, as lines, JSON and a page; the probability is the scorer's."""
    texts = [f"win a free prize number {row}" for row in range(20)]
    file = write_csv(tmp_path / "in.csv", texts)
    out = tmp_path / "page.html"
    command = ["explain", single, "--input", file, "--rows", "17,3", "--samples", 60, "--window", 4]
    result = _run(*command, "--html", out)
    found = _last(result)
    assert [row["texts"]["text"] for row in found["explanations"]] == [texts[16], texts[2]]
    assert found["explanations"][0]["row"] == "row 17, line 18"
    assert result.stdout.startswith(f"row 17, line 18: {texts[16]}\n")
    assert found["precision"] == "fp32"
    label = found["explanations"][0]["labels"][0]
    with Scorer.open(single, precision="fp32") as scorer:
        assert label["probability"] == pytest.approx(scorer.predict_proba([texts[16]]).max(), abs=1e-5)
    assert len(label["words"]) == 6
    assert all(texts[16][word["start"] : word["end"]] == word["word"] for word in label["words"])
    assert texts[2].split()[-1] in out.read_text()
    again = _run(*command, "--json")
    assert len(again.stdout.splitlines()) == 1
    assert _last(again)["explanations"] == found["explanations"]
    taken = _run(*command, "--html", out)
    assert (taken.exit_code, "exists already" in taken.stderr) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--input", "IN", "--rows", "3,9"], 1, "no row 9"),
        (["--input", "IN", "--rows", "2"], 1, "null_text"),
        (["--input", "none.csv", "--rows", "1"], 1, "none.csv"),
        (["--input", "IN", "--rows", "0"], 2, "from 1"),
        (["--input", "IN", "--rows", "x"], 2, "from 1"),
        (["--input", "IN"], 2, "--rows"),
        (["--text", "x", "--rows", "1"], 2, "--rows"),
        ([], 2, "--text"),
        (["--text", "x", "--samples", "1000000"], 2, "10000"),
        (["--text", "x", "--label", "spm"], 1, "did you mean 'spam'?"),
        (["--text", " "], 1, "null_text"),
    ],
)
def test_wrong_arguments(single: Path, tmp_path: Path, arguments: list[str], code: int, words: str) -> None:
    """What cannot be is refused in our form, with the exit code of its kind."""
    file = write_csv(tmp_path / "in.csv", ["one", " ", "three"])
    result = _run("explain", single, *(str(file) if word == "IN" else word for word in arguments))
    assert (result.exit_code, "Traceback" in result.output) == (code, False)
    assert words in result.stderr


def test_multi_label_and_pairs_by_the_command(multi: Path, pair: Path) -> None:
    """A named label of several is explained, and a pair is JSON whose columns come back."""
    found = _last(_run("explain", multi, "--text", "win a prize", "--label", "eggs", "--samples", 50))
    assert [label["label"] for label in found["explanations"][0]["labels"]] == ["eggs"]
    row = {"text": "win", "second": "lose it"}
    found = _last(_run("explain", pair, "--text", json.dumps(row), "--samples", 50))
    words = found["explanations"][0]["labels"][0]["words"]
    assert sorted((word["column"], word["word"]) for word in words) == [
        ("second", "it"),
        ("second", "lose"),
        ("text", "win"),
    ]


def test_predict_explains(single: Path) -> None:
    """`predict --explain` prints the top words of the given label below its percentages, and the JSON has them all."""
    result = _run("predict", single, "--text", "win a free prize now or then", "--explain", "--precision", "fp32")
    (found,) = _last(result)["predictions"]
    label = found["explanation"]["labels"][0]
    assert [label["label"]] == found["labels"]
    assert f"words for {label['label']}:" in result.stdout
    shown = result.stdout.splitlines()[6:11]
    assert [line.split()[0] for line in shown] == [word["word"] for word in label["words"][:5]]
    plain = _last(_run("predict", single, "--text", "win"))
    assert "explanation" not in plain["predictions"][0]
    # int8 logits move with the texts of a batch, by as much as some words do.
    precise = _last(_run("predict", single, "--text", "win", "--explain"))
    assert (plain["precision"], precise["precision"]) == ("int8", "fp32")


def test_a_probability_is_spelled_alike_everywhere(single: Path) -> None:
    """`predict` and its explanation write the probability of a label with the same digits: one number, one text."""
    result = _run("predict", single, "--text", "win a free prize now or then", "--explain", "--precision", "fp32")
    (found,) = _last(result)["predictions"]
    (label,) = found["labels"]
    shown = f"{100 * found['probabilities'][label]:.2f} %"
    told = result.stdout[: result.stdout.rindex("{")]
    assert re.search(rf"\* {label} +{re.escape(shown)}", told)
    assert f"the probability of {label} goes from {shown} to" in told
