"""The page of a run: what it says, what it refuses, how large it is, and that no row becomes markup."""

import json
import re
import shlex
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import jsonschema
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from tests.trainer.report.made import Made, checkpoint_of, figures, make_run
from trainer.cli import main
from trainer.contract.errors import ArtifactError, InputError
from trainer.contract.figures.stamped import measured_on, write_figures
from trainer.contract.system.files import read_json, write_json
from trainer.report.job import ReportJob, report
from trainer.report.page import MOST_BYTES
from trainer.report.plain import counted
from trainer.report.words import once

ROOT = Path(__file__).parents[3]
SCRIPT = "<script>document.title='owned'</script>"
BIDI = "before \u202egnirts\u2066 after"
HUGE = "word " * 20_000


class Page(HTMLParser):
    """The elements of a page, its texts, and every address that it names."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.handlers: list[str] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect."""
        self.tags.append(tag)
        for name, value in attrs:
            self.ids += [value or ""] if name == "id" else []
            self.addresses += [value or ""] if name in ("href", "src", "action", "srcset", "data", "xlink:href") else []
            self.handlers += [name] if name.startswith("on") else []

    def handle_data(self, data: str) -> None:
        """Collect."""
        self.texts.append(data)


def page_of(run: Path, **options: Any) -> tuple[dict[str, Any], str]:
    """What the command gives, and the page."""
    found = report(ReportJob(run=run, **{"examples": 0, **options}))
    return found, Path(found["report"]).read_text("utf-8")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose first rows are hostile."""
    texts = [f"win a prize {row}" for row in range(120)]
    texts[:8] = [
        SCRIPT,
        BIDI,
        HUGE,
        "'\"><img src=x onerror=alert(1)>",
        "{{ 7 * 7 }}",
        "&lt;b&gt;",
        "$x^2$",
        "a\x00\x1b[31mb",
    ]
    return make_run(
        tmp_path_factory.mktemp("runs") / "hostile", Made(texts=texts, wrong=1.0, names=("ham", "<i>spam</i>"))
    )


def test_the_made_figures_fit_the_schema(run: Path) -> None:
    """What these tests draw pages of is what `evaluate` writes."""
    schema = json.loads((ROOT / "trainer" / "split_metrics.schema.json").read_text("utf-8"))
    found = jsonschema.Draft202012Validator(schema).iter_errors(read_json(run / "test_metrics.json"))
    assert [error.message for error in found] == []


def test_hostile_rows_and_labels_stay_text(run: Path) -> None:
    """A row or a label that holds markup adds no element and no handler, and hidden characters are spelled."""
    _, text = page_of(run)
    page = Page(text)
    assert page.tags.count("script") == 1
    assert not {"img", "i", "b", "iframe", "object", "link", "base"} & set(page.tags)
    assert page.handlers == []
    told = "".join(page.texts)
    assert SCRIPT in told
    assert "{{ 7 * 7 }}" in told
    assert "before \\u202egnirts\\u2066 after" in told
    assert "a\\x00\\x1b[31mb" in told
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text)
    assert "99,400 more characters" in told


def test_the_page_asks_for_nothing(run: Path) -> None:
    """Every address is a place on the page itself, ids are unique, and the policy lets nothing be loaded or run but
    the script that is hashed in it.
    """
    _, text = page_of(run)
    page = Page(text)
    assert all(address.startswith("#") for address in page.addresses)
    assert len(page.ids) == len(set(page.ids))
    assert {address[1:] for address in page.addresses} <= set(page.ids)
    assert "url(http" not in text
    assert "@import" not in text
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy is not None
    assert policy[1].startswith("default-src &#39;none&#39;")
    assert "unsafe-inline" not in policy[1].split("script-src")[1]


def test_the_page_says_every_thing_in_order(run: Path) -> None:
    """Sections stand in the order in which a reader asks."""
    _, text = page_of(run)
    keys = re.findall(r'<section id="([a-z-]+)"', text)
    assert keys == [
        "verdict",
        "origin",
        "metrics",
        "confusion",
        "learning",
        "ranking",
        "calibration",
        "decisions",
        "slices",
        "robustness",
        "mismatches",
        "suspects",
        "explained",
        "precisions",
        "drift",
        "reproduce",
    ]


def test_every_chart_has_words_and_numbers(run: Path) -> None:
    """Each drawing is an image with a name, a sentence that is read by all, and a table of its points."""
    _, text = page_of(run)
    figures = re.findall(r"<figure>.*?</figure>", text, re.DOTALL)
    assert len(figures) == 5
    for figure in figures:
        assert re.search(r'role="img" aria-label="[^"]{30,}"', figure)
        assert "<table" in figure
        assert "<text" in figure  # Text as text: no path draws a letter.


def test_the_same_run_gives_the_same_bytes(run: Path) -> None:
    """Nothing of the page depends on when it was made, or on what was drawn before."""
    first = page_of(run)[1]
    assert page_of(run)[1] == first


def test_texts_can_be_left_out(run: Path) -> None:
    """With --no-texts no row's text is on the page, which says so."""
    _, text = page_of(run, texts=False)
    assert "win a prize" not in text
    assert "gnirts" not in text
    assert "This page holds no text of a row" in text


@pytest.mark.parametrize("kind", ["single", "multi"])
def test_a_thousand_labels_fit(tmp_path: Path, kind: str) -> None:
    """A page of 1,000 labels with long names stays under 2 MB, with all that grows with the data: wrong rows, slices,
    decisions, suspects and drift.
    """
    names = tuple(f"label {number} {'é' * 100}" for number in range(1000))
    texts = [f"{'<>&' * 2000} {row}" for row in range(600)]
    run = make_run(tmp_path / "run", Made(names=names, kind=kind, texts=texts, wrong=0.9))
    bins = dict.fromkeys(("before", "after"), decisions()["curves"]["calibration"]["before"] * 15)
    points = [step / 100 for step in range(101)]
    curves = [
        dict.fromkeys(("threshold", "precision", "recall", "f1"), points) | {"label": name} for name in names[:30]
    ]
    thresholds = [{"label": name, "threshold": 0.5, "rule": "f1", "rows": 9, "note": "n" * 200} for name in names]
    content = decisions() | {"labels": list(names), "kind": kind, "thresholds": thresholds}
    content["curves"] |= {"thresholds": curves, "calibration": {"of": "all", **bins}}
    write_figures(run / "decisions.json", content, checkpoint_of(run))
    slices = read_json(run / "test_metrics.json")["slices"]
    slices["found"] = [one | {"value": "é" * 80} for one in slices["found"] * 400]
    rewrite(run, slices=slices)
    _suspicious(run, names, texts)
    shares = {"names": list(names), "reference": [0.001] * 1000, "counts": [100] * 1000}
    figures = {name: {"drift": True, "distance": 0.5, "p": 0.001, **shares} for name in ("labels", "lengths")}
    drift = {"sentence": "drift", "rows": 100_000, "reference_rows": 9, "figures": figures}
    scored = {"rows_read": 9, "rows_scored": 9, "bundle": {}, "precision": "int8", "drift": drift}
    write_json(tmp_path / "scored.json", scored | {"rows_abstained": 4})
    found, text = page_of(run, scores=tmp_path / "scored.json")
    assert found["bytes"] == len(text.encode()) < MOST_BYTES
    assert "4 of the scored rows were not answered" in text
    for key in ("mismatches", "slices", "decisions", "suspects", "drift"):
        section = text[text.index(f'id="{key}"') :]
        assert "To have it, run" not in section[: section.index("</section>")], key


def _suspicious(run: Path, names: tuple[str, ...], texts: list[str]) -> None:
    """A thousand suspects."""
    rows = [
        {"text": text, "label": name, "suggestion": name[::-1], "self_confidence": 0.1, "file": "é" * 300, "line": 1}
        for name, text in zip(names, texts, strict=False)
    ]
    (run / "review").mkdir(exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), run / "review" / "suspects.parquet")
    noted = {"fingerprints": ["f" * 64], "folder": "review", "files": {"suspects.csv": ""}, "suspects": 1000}
    write_json(run / "review" / "suspects.json", noted | {"rows": 100_000, "models": "states", "agreement": 0.5})


@pytest.mark.parametrize("rows", [5_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_many_wrong_rows_fit(tmp_path: Path, rows: int) -> None:
    """Of many wrong rows 200 are on the page, whatever their length."""
    texts = [f"{'&' * 3000 if row < 400 else ''} wrong {row}" for row in range(rows)]
    found, text = page_of(make_run(tmp_path / "run", Made(texts=texts, wrong=1.0)))
    assert found["bytes"] < MOST_BYTES
    assert f"{rows:,} rows are decided wrongly" in text
    section = text[text.index('id="mismatches"') : text.index('id="suspects"')]
    # Twenty and their head, then the others with theirs.
    assert [part.count("<tr>") for part in section.split("The next 180 rows")] == [21, 181]


def rewrite(run: Path, **changes: Any) -> None:
    """Other figures of the same run."""
    content = read_json(run / "test_metrics.json")
    content.pop("measured_on")
    write_figures(run / "test_metrics.json", content | changes, checkpoint_of(run))


def baseline(low: float, high: float, better: str | None) -> dict[str, Any]:
    """A baseline that the model's F1 differs from by that much."""
    difference = {"value": (low + high) / 2, "low": low, "high": high}
    figure = {"value": 0.5, "low": 0.4, "high": 0.6, "difference": difference, "better": better}
    return {"about": "it", "missing": None, "fit": None, "metrics": {"f1": figure}}


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    """A run of which every rule holds that does not need a bundle."""
    return make_run(tmp_path / "run", Made(wrong=0.1))


@pytest.fixture
def bundle(fresh: Path) -> Path:
    """The manifest of a bundle of that run, in a folder."""
    parity = {
        "rows": 60,
        "label_agreement": 1.0,
        "max_difference": 1e-6,
        "metric": "f1",
        "drop": 0.0,
        "drop_low": 0.0,
        "drop_high": 0.0,
    }
    graph = {"file": "onnx/model.onnx", "bytes": 1, "parity": parity, "instruction_set": "AVX2", "max_drop": 0.005}
    folder = fresh.parent / "bundle"
    folder.mkdir()
    own = measured_on(checkpoint_of(fresh))
    content = {
        "name": "made",
        "contract": {},
        "graphs": {"fp32": graph},
        "files": {},
        "versions": {},
        "measured_on": own,
    }
    write_json(folder / "manifest.json", content)
    return folder


def test_a_model_of_which_every_rule_holds_is_for_use(fresh: Path, bundle: Path) -> None:
    """The verdict is `use`, and each rule is on the page with its figure."""
    found, text = page_of(fresh, bundle=bundle)
    assert found["verdict"] == "use"
    assert all(found["rules"].values())
    for rule in found["rules"]:
        assert rule[0].upper() + rule[1:] in text


def test_rows_without_labels_are_counted_where_files_were_compared_on_them(fresh: Path, bundle: Path) -> None:
    """Agreement that was measured on more than validation rows says so beside it, in the rule and in the section."""
    manifest = read_json(bundle / "manifest.json")
    assert "rows without labels" not in page_of(fresh, bundle=bundle)[1]
    manifest["graphs"]["fp32"]["parity"]["unlabelled_rows"] = 20_000
    write_json(bundle / "manifest.json", manifest)
    told = "60 validation rows and 20,000 rows without labels"
    text = page_of(fresh, bundle=bundle)[1]
    assert f"fp32: 100.00 % of {told}" in text
    assert f"compared with torch in fp32 on {told}; metric: f1, of the validation rows." in text


BEATEN, BEHIND, UNSURE = baseline(0.1, 0.2, "encoder"), baseline(-0.3, -0.1, "baseline"), baseline(-0.01, 0.1, None)
NONE_WRONG = {"rows": 0, "like_formulas": 0, "folder": "review", "files": {}}
ALL_RIGHT = {"value": 1.0, "low": 1.0, "high": 1.0}
SURE = {"value": 0.01, "low": 0.0, "high": 0.02}
NOTHING = {"metric": "f1", "value": 0.95, "labels": ["spam"], "loss": 0.1, "beaten": False}


@pytest.mark.parametrize(
    ("changes", "rule", "verdict"),
    [
        ({"baselines": {"majority": BEHIND, "bag_of_words": BEATEN}}, "it beats the commonest label", "do not use"),
        ({"baselines": {"majority": UNSURE, "bag_of_words": BEATEN}}, "it beats the commonest label", "do not use"),
        (
            {"baselines": {"majority": BEATEN, "bag_of_words": UNSURE}},
            "it beats a linear bag of words",
            "use with care",
        ),
        ({"constant": NOTHING}, "it has learnt something", "do not use"),
        ({"also_in_train": {"rows": 2, "metrics_without": None}}, "the rows are new to it", "use with care"),
        (
            {"intervals": {"f1": {"value": 0.9, "low": 0.84, "high": 0.95}, "ece": SURE}},
            "there are enough rows",
            "use with care",
        ),
        # No row is wrong and no resample differs: that is not certainty.
        (
            {"intervals": {"f1": ALL_RIGHT, "ece": SURE}, "mismatches": NONE_WRONG, "rows": 30},
            "there are enough rows",
            "use with care",
        ),
        (
            {"intervals": {"f1": {"value": 0.9, "low": 0.88, "high": 0.92}, "ece": {**SURE, "value": 0.06}}},
            "probabilities mean what they say",
            "use with care",
        ),
    ],
)
def test_each_broken_rule_is_named(fresh: Path, bundle: Path, changes: dict[str, Any], rule: str, verdict: str) -> None:
    """One figure on the wrong side of its bound breaks its own rule alone, and the verdict says which."""
    rewrite(fresh, **changes)
    found, _ = page_of(fresh, bundle=bundle)
    assert found["verdict"] == verdict
    assert [name for name, holds in found["rules"].items() if not holds] == [rule]
    assert rule in found["why"]


def test_a_flagged_slice_asks_for_care(fresh: Path, bundle: Path) -> None:
    """A slice that is shown to be worse than the others breaks its rule."""
    slices = read_json(fresh / "test_metrics.json")["slices"]
    slices["found"][0]["flagged"] = True
    rewrite(fresh, slices=slices)
    found, _ = page_of(fresh, bundle=bundle)
    assert found["rules"]["no kind of row stands out as worse"] is False


def test_test_rows_that_were_opened_for_other_weights_ask_for_care(tmp_path: Path) -> None:
    """Whoever looked, trained again and looked again has fitted the test rows; twice for one model is harmless."""
    rule = "the test rows were opened for this model alone"
    twice = page_of(make_run(tmp_path / "twice", Made(opened=("own", "own"))))[0]
    other = page_of(make_run(tmp_path / "other", Made(opened=("0" * 64, "own"))))[0]
    assert (twice["rules"][rule], other["rules"][rule]) == (True, False)


def test_what_is_missing_is_named_with_its_command(fresh: Path) -> None:
    """A run without test figures, bundle and decisions gets a page that says how to have them, and asks for care."""
    (fresh / "test_metrics.json").unlink()
    found, text = page_of(fresh)
    assert found["verdict"] == "use with care"
    # The page leaves the house: the folder is named without what lies above it.
    for command in ("classifact evaluate run", "classifact decide run", "classifact export", "--scores"):
        assert command in text


def test_of_a_refit_no_rows_chose_the_checkpoint(fresh: Path) -> None:
    """The page of a refit, whose last weights are kept, says nowhere that validation rows chose the checkpoint."""
    (fresh / "test_metrics.json").unlink()
    splits = read_json(fresh / "splits" / "splits.json")
    assert "which chose this checkpoint" in page_of(fresh)[1]
    write_json(fresh / "splits" / "splits.json", {**splits, "refit": {"joined": 40, "held": 20, "trials": 3}})
    text = page_of(fresh)[1]
    for told in (
        "which chose its settings",
        "it is the last one",
        "nothing: the last weights of a refit",
        "3 trials of a search",
    ):
        assert told in text
    for told in ("no search chose", "chose this checkpoint", "it has the best", "chose the checkpoint"):
        assert told not in text


def decisions() -> dict[str, Any]:
    """What `decide` leaves: a temperature, a threshold, and a certified rule to abstain."""
    bins = [
        {"low": 0.5, "high": 0.6, "count": 30, "probability": 0.55, "share": 0.7, "share_low": 0.5, "share_high": 0.8}
    ]
    points = [step / 10 for step in range(11)]
    curve = {"label": "spam", "threshold": points, "precision": points, "recall": points[::-1], "f1": points}
    coverage = {"below": points, "coverage": points[::-1], "error": points, "bound": points}
    figure, change = {"value": 0.02, "low": 0.0, "high": 0.04}, {"before": 0.5, "after": 0.4}
    threshold = {"label": "spam", "threshold": 0.4, "rule": "f1", "rows": 20, "note": None}
    abstain = {"below": 0.7, "error": 0.02, "level": 0.95, "answered": 54, "wrong": 1, "rows": 60}
    abstain |= {"coverage": {"value": 0.9, "low": 0.8, "high": 0.95}, "bound": 0.019, "tries": 3}
    said = "at most 2 % wrong among the 90 % answered, with 95 % confidence"
    return {
        "schema": 2,
        "checkpoint": "stage1-step000010",
        "asked": {},
        "labels": ["ham", "spam"],
        "kind": "single",
        "rows": {"validation": 60, "fitted": 30, "tested": 30, "also_in_train": 0},
        "groups": None,
        "chose_checkpoint": {"metric": "f1", "checkpoints": 1, "trials": 0, "said": "They chose nothing."},
        "temperature": {"value": 1.3, "loss": change, "ece": {"before": SURE, "after": SURE}, "said": "Milder."},
        "thresholds": [threshold],
        "costs": None,
        "promises": [],
        "abstain": {**abstain, "said": said},
        "estimate": {"folds": 5, "metrics": {"f1": {"before": 0.8, "after": 0.82, "gain": figure}}},
        "curves": {
            "calibration": {"of": "the probability of 'spam'", "before": bins, "after": bins},
            "thresholds": [curve],
            "coverage": coverage,
        },
    }


def test_decisions_are_shown_with_the_certified_point(fresh: Path) -> None:
    """What was promised stands on the page in words, the point is on the curve, and before and after are drawn."""
    write_figures(fresh / "decisions.json", decisions(), checkpoint_of(fresh))
    schema = json.loads((ROOT / "trainer" / "decisions.schema.json").read_text("utf-8"))
    found = jsonschema.Draft202012Validator(schema).iter_errors(read_json(fresh / "decisions.json"))
    assert [error.message for error in found] == []
    _, text = page_of(fresh)
    assert "At most 2 % wrong among the 90 % answered, with 95 % confidence" in text
    assert "certified point" in text
    assert "Before and after the temperature" in text
    assert "Threshold of spam" in text
    assert "Each metric before and after, cross-fitted" in text


def test_figures_of_promises_are_not_called_cross_fitted(fresh: Path) -> None:
    """Where something was promised, before and after are of the rows that tested it."""
    promised = decisions()
    promised["estimate"]["folds"] = 0
    write_figures(fresh / "decisions.json", promised, checkpoint_of(fresh))
    assert "Each metric before and after, on validation rows that chose nothing" in page_of(fresh)[1]


def test_the_page_says_what_decisions_gain_on_test_rows(fresh: Path) -> None:
    """Beside the estimate on validation rows stands the gain on test rows, with its interval, where it was measured."""
    told = "The same on the test rows, which nothing was fitted on"
    checkpoint = checkpoint_of(fresh)
    write_figures(fresh / "decisions.json", decisions(), checkpoint)
    assert told not in page_of(fresh)[1]
    measured = read_json(fresh / "test_metrics.json")
    gain = {"before": 0.9, "after": 0.893, "gain": {"value": -0.007, "low": -0.018, "high": 0.001}}
    measured["decisions"] = {"temperature": 1.2, "metrics": {"f1": gain}, "answered": None, "promised": None}
    write_figures(fresh / "test_metrics.json", measured, checkpoint)
    text = page_of(fresh)[1]
    assert told in text
    assert "-0.007 (-0.018 to +0.001)" in text


def test_the_verdict_is_told_in_counts(fresh: Path, bundle: Path) -> None:
    """Who never met F1 reads how many rows are right, found and called so, what is left to a person, and what runs."""
    found = read_json(fresh / "test_metrics.json")
    (both, missed), (false, hit) = found["confusion"]
    answered = {"rows": 60, "answered": 50, "wrong": 2, "coverage": SURE, "error": SURE}
    gain = {"before": 0.9, "after": 0.9, "gain": SURE}
    told = {"temperature": 1.2, "metrics": {"f1": gain}, "answered": answered, "promised": 0.05}
    rewrite(fresh, decisions=told)
    content = read_json(bundle / "manifest.json")
    content["graphs"]["fp32"] |= {"bytes": 61_200_000, "rows_per_second": 1234.5, "speed": 1.5}
    write_json(bundle / "manifest.json", content)
    text = unescape(page_of(fresh, bundle=bundle)[1])
    for sentence in (
        f"Of 60 test rows {both + hit} are decided rightly.",
        f"Of the {false + hit} that are spam it finds {hit}; of the {missed + hit} that it calls spam, {hit} are.",
        "It would leave 10 of these rows to a person; of the others 2 are wrong.",
        "Its fastest file, fp32, has 61 MB and scored 1,234 rows a second where it was exported.",
    ):
        assert sentence in text
    several = {"kind": "multi", "split": "test", "rows": 9, "mismatches": {"rows": 2}, "decisions": None}
    several["confusion"] = [[[5, 1], [1, 2]], [[4, 0], [1, 4]]]
    assert list(counted(several)) == [
        "Of 9 test rows 7 have every label right.",
        "Of the 8 labels that they have it gives 6; of the 7 that it gives, 6 are right.",
    ]


def test_a_figure_has_one_name_and_no_chart_is_empty(fresh: Path) -> None:
    """Of several labels a row accuracy and subset accuracy are one row of a table; a label whose probability never
    changes has no chart.
    """
    both = {"accuracy": 0.5, "subset_accuracy": 0.5, "brier": 0.1}
    assert list(once(both)) == ["subset_accuracy", "brier"]
    assert list(once({"accuracy": 0.5, "brier": 0.1})) == ["accuracy", "brier"]
    content = decisions()
    content["curves"]["thresholds"].append(
        {key: [0.5] for key in ("threshold", "precision", "recall", "f1")} | {"label": "ham"}
    )
    content["groups"] = {"column": "VideoId", "count": 13}
    write_figures(fresh / "decisions.json", content, checkpoint_of(fresh))
    text = page_of(fresh)[1]
    assert "Threshold of spam" in text
    assert "in 13 groups by &#39;VideoId&#39;" in text
    assert "Threshold of ham" not in text


def test_commands_are_quoted(tmp_path: Path) -> None:
    """A folder whose name is a command of its own is one word of the commands that the page shows."""
    made = make_run(tmp_path / "my run; touch owned", Made())
    _, text = page_of(made)
    commands = [unescape(found) for found in re.findall(r"<pre tabindex=\"0\"><code>(.*?)</code>", text, re.DOTALL)]
    told = [command for command in commands if "owned" in command and "classifact" in command]
    assert len(told) >= 4
    assert all("touch" not in shlex.split(command) for command in told)


def test_the_page_says_what_was_proven_of_a_student(fresh: Path, bundle: Path) -> None:
    """Of each agreement the page has coverage, the least proven class and what further rows showed; a label is text."""
    assert "A student for most rows" not in page_of(fresh, bundle=bundle)[1]
    classes = [{"label": name, "answer": "given", "bound": bound} for name, bound in (("<b>x</b>", 0.02), ("y", 0.005))]
    target = {"agreement": 0.995, "coverage": 0.912, "rows": 700, "wrong": 0, "classes": classes, "effect": None}
    target["realised"] = {"rows": 153, "wrong": 1, "low": 0.0, "high": 0.02}
    content = read_json(bundle / "manifest.json")
    content["cascade"] = {"precision": "int8", "confidence": 0.95, "targets": [target]}
    write_json(bundle / "manifest.json", content)
    _, text = page_of(fresh, bundle=bundle)
    told = (
        "A student for most rows",
        "91.2 %",
        "at most 0.5 %",
        "&lt;b&gt;x&lt;/b&gt;: at most 2.00 %",
        "1 of 153 rows differ",
    )
    assert [part for part in told if part not in text] == []


def test_a_bundle_of_other_weights_is_refused(fresh: Path, bundle: Path) -> None:
    """A page never shows the files of one model beside the figures of another."""
    content = read_json(bundle / "manifest.json")
    content["measured_on"]["weights"] = "0" * 64
    write_json(bundle / "manifest.json", content)
    with pytest.raises(ArtifactError, match="not made of this run's checkpoint"):
        page_of(fresh, bundle=bundle)


def test_changed_predictions_are_refused(fresh: Path) -> None:
    """Rows that are not those of the figures are not shown."""
    with (fresh / "test_predictions.jsonl").open("a") as file:
        file.write("\n")
    with pytest.raises(ArtifactError, match="changed since"):
        page_of(fresh)


def test_figures_of_other_weights_are_refused(fresh: Path) -> None:
    """An earlier checkpoint's figures stay off the page."""
    content = read_json(fresh / "test_metrics.json")
    content["measured_on"]["weights"] = "0" * 64
    write_json(fresh / "test_metrics.json", content)
    with pytest.raises(ArtifactError, match="not of this checkpoint"):
        page_of(fresh)


def test_a_report_of_another_bundles_scores_is_refused(fresh: Path, bundle: Path) -> None:
    """Drift is shown of the bundle that is on the page alone."""
    path = fresh.parent / "scored.csv.report.json"
    content = {"rows_read": 1, "rows_scored": 1, "bundle": {"name": "x", "sha256": "0" * 64}, "precision": "fp32"}
    write_json(path, content)
    with pytest.raises(InputError, match="scored with another bundle"):
        page_of(fresh, bundle=bundle, scores=path)


def test_rows_are_explained_by_the_checkpoint(fresh: Path) -> None:
    """With examples, the page marks words of rows and says what the list is worth."""
    _, text = page_of(fresh, examples=2)
    section = text[text.index('id="explained"') : text.index('id="precisions"')]
    assert section.count('class="marked"') >= 2
    assert "deletion test" in section
    # What a heading says of a label's probability and where the deletion test starts is one number, in the same digits.
    shown, start = re.findall(r"</h3>|, (\d+\.\d\d) %</h4>", section), re.findall(r"goes from (\S+) % to", section)
    assert start
    assert [each for each in shown if each] == start


def test_the_command_says_the_verdict_and_where_the_page_is(fresh: Path) -> None:
    """Standard output ends in one JSON line, and progress goes to standard error."""
    result = CliRunner().invoke(main, ["report", str(fresh), "--examples", "0"])
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0].startswith("use with care: ")
    assert json.loads(lines[-1])["report"] == str(fresh / "report.html")
    assert "reading what it said of 60 test rows" in result.stderr


def test_the_run_of_another_schema_says_measure_again(fresh: Path) -> None:
    """Figures that an earlier version measured are refused by name."""
    content = figures(Made(), fresh, [])
    write_figures(fresh / "test_metrics.json", content | {"schema": 1}, checkpoint_of(fresh))
    with pytest.raises(ArtifactError, match="schema"):
        page_of(fresh)
