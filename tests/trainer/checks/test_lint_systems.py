"""Lint on the five systems' data: what each SOURCE.txt lists under its quirks is found."""

from pathlib import Path
from typing import Any

import pytest

from tests import tiny
from tests.trainer.sources import SHARED, recipe
from trainer.checks.findings import Finding
from trainer.checks.lint import StageReport, lint
from trainer.recipes.file import load

ROOT = Path(__file__).parents[3]
RECIPES = ROOT / "launch_configs" / "recipes"
pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason="the five systems' data is not beside the checkout")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with a tokenizer."""
    folder = tmp_path_factory.mktemp("model")
    tiny.config().save_pretrained(folder)
    tiny.tokenizer().save_pretrained(folder)
    return str(folder)


def stages(path: Path, model: str, *settings: str) -> list[StageReport]:
    """The report of a shipped recipe."""
    return lint(load(path, (f"model.name={model}", *settings))).stages


@pytest.fixture(scope="module")
def s1(model: str) -> list[StageReport]:
    """Both stages of S1, looked at once."""
    return stages(RECIPES / "s1_fake_news.yaml", model)


def found(stage: StageReport, check: str) -> list[Finding]:
    """The findings of one check."""
    return [finding for finding in stage.findings if finding.check == check]


def one(stage: StageReport, check: str) -> Finding:
    """The only finding of a check."""
    (finding,) = found(stage, check)
    return finding


def words(stage: StageReport) -> tuple[int, int]:
    """Median and maximum of the words of all rows."""
    return stage.lengths[0]["words_median"], stage.lengths[0]["words_max"]


@pytest.mark.slow
def test_s1_short_items(s1: list[StageReport]) -> None:
    """119 texts and 90 titles under both labels, 35 and 7 repeats, cut texts, a saved index, line breaks."""
    stage = s1[0]
    title, text = found(stage, "column_repeats")
    assert "column 'text'" in text.what
    assert "119 of them under different labels" in text.what
    assert "column 'title'" in title.what
    assert "90 of them under different labels" in title.what
    assert "35 in " in one(stage, "repeats").what
    assert "7 in " in one(stage, "repeats").what
    assert not found(stage, "conflicts")
    assert [finding.what.partition(": ")[0].rpartition("/")[2] for finding in found(stage, "cut_texts")] == [
        "onlyfakes1000.csv",
        "onlytrue1000.csv",
    ]
    assert one(stage, "line_breaks").count == 2 + 50
    assert one(stage, "unnamed_column")
    assert one(stage, "far_longer").count > 150
    assert {finding.what.rpartition(" of ")[2] for finding in found(stage, "labels_by_file")} == {
        "fake alone",
        "real alone",
    }
    assert one(stage, "near_conflicts").count > 300


@pytest.mark.slow
def test_s1_long_articles(s1: list[StageReport]) -> None:
    """Three spellings of the label, one U+FFFD, nulls of the workbook, five repeats in development.xlsx."""
    stage = s1[1]
    assert words(stage) == (337, 4669)
    spellings = one(stage, "label_spellings").what
    assert "'Fake' 480, False 286, 'fake' 259" in spellings
    assert "'True' 491, 'real' 339, True 286" in spellings
    assert one(stage, "lost_characters").count == 1
    assert "train.xlsx" in one(stage, "lost_characters").examples[0]
    nulls = one(stage, "unread_nulls").what
    assert all(text in nulls for text in ("'SOURCE' 7", "'HEADLINE' 72", "'LINK' 3"))
    assert one(stage, "repeats").count == 5
    assert "development.xlsx" in one(stage, "repeats").what
    # Seven texts come again when white space and case are folded, none with another label.
    assert one(stage, "line_breaks").count > 1400
    assert one(stage, "near_repeats").count >= 4


def test_s1_development_texts_in_train(model: str) -> None:
    """With the workbooks as train and validation, the four development texts that train holds are an error."""
    folder = SHARED / "spanish_fake_long"
    data = {
        "train": {"files": str(folder / "train.xlsx")},
        "validation": {"files": str(folder / "development.xlsx")},
    }
    made = recipe(data, "Category", model={"name": model}, input={"text": "Text"})
    (stage,) = lint(made).stages
    leak = one(stage, "leak")
    assert (leak.severity, leak.count) == ("error", 4)
    assert all("train.xlsx:" in example and "development.xlsx:" in example for example in leak.examples)


def test_s2_medical(model: str) -> None:
    """Two repeated titles, two populations of texts, rare combinations, and nothing null or repeated."""
    (stage,) = stages(RECIPES / "s2_medical.yaml", model)
    assert "2 values of column 'title'" in one(stage, "column_repeats").what
    assert words(stage)[1] == 535
    lengths = one(stage, "two_lengths")
    assert 2000 < lengths.count < 2300
    assert "7" in one(stage, "rare_combinations").examples[0]
    assert not {"repeats", "nulls", "empty_text", "conflicts"} & {finding.check for finding in stage.findings}


def test_s3_calls_to_action(model: str) -> None:
    """57 repeats, one text under both labels, line breaks in quotes, placeholders, one positive in ten."""
    (stage,) = stages(RECIPES / "s3_call_to_action.yaml", model)
    assert one(stage, "repeats").count == 57
    assert one(stage, "conflicts").count == 1
    assert one(stage, "line_breaks").count == 562
    assert one(stage, "carriage_returns").count >= 562
    assert "[@IND]" in one(stage, "placeholders").what
    assert "663 of 6,840 (9.7 %)" in one(stage, "unbalanced").what
    assert words(stage) == (13, 1311)
    assert not found(stage, "nulls")


def test_s4_toxic_comments(model: str) -> None:
    """The 13 videos, three repeats, 113 texts with line breaks, two columns that are always false."""
    (stage,) = stages(RECIPES / "s4_toxic.yaml", model)
    group = one(stage, "group_leak")
    assert group.count == 13
    assert "'VideoId'" in group.what
    assert one(stage, "repeats").count == 3
    assert one(stage, "line_breaks").count == 113
    constant = " ".join(finding.what for finding in found(stage, "constant_column"))
    assert "IsHomophobic" in constant
    assert "IsRadicalism" in constant
    assert words(stage) == (19, 815)
    assert not found(stages(RECIPES / "s4_toxic.yaml", model, "data.split.group=VideoId")[0], "group_leak")


def test_s4_labels_with_too_few_rows(model: str) -> None:
    """As labels of their own, two have no rows, and one has a single one."""
    names = "Toxic Abusive Threat Provocative Obscene Hatespeech Racist Nationalist Sexist Homophobic Radicalism"
    labels: dict[str, Any] = {"columns": [f"Is{name}" for name in names.split()], "kind": "multi"}
    data = {"train": {"files": str(SHARED / "youtoxic" / "youtoxic_english_1000.csv")}}
    (stage,) = lint(recipe(data, labels, model={"name": model}, input={"text": "Text"})).stages
    assert [finding.what for finding in found(stage, "no_rows")] == [
        "label 'IsHomophobic' has no rows",
        "label 'IsRadicalism' has no rows",
    ]
    assert "'IsSexist' has only 1 train rows, 0 validation rows" in " ".join(
        finding.what for finding in found(stage, "few_rows")
    )


@pytest.mark.slow
def test_s5_ag_news(model: str) -> None:
    """Files sorted by class, HTML in a quarter of the rows, backslashes, repeated descriptions, no leak into test."""
    (stage,) = stages(RECIPES / "s5_ag_news.yaml", model)
    assert len(found(stage, "sorted_by_label")) == len(found(stage, "labels_by_file")) == 2
    assert 0.2 < one(stage, "broken_html").count / 27600 < 0.35
    assert one(stage, "backslashes").count > 2000
    assert not found(stage, "leak")
    (train,) = stages(RECIPES / "s5_ag_news.yaml", model, "data.test=null")
    description = found(train, "column_repeats")[1]
    assert "column 'description'" in description.what
    assert "3 of them under different labels" in description.what


def test_the_sms_example(model: str) -> None:
    """403 repeats, HTML in 309 texts, quotes that would swallow rows, 13 % spam; read with quotes it is an error."""
    path = ROOT / "examples" / "sms_spam" / "recipe.yaml"
    (stage,) = stages(path, model, "model.sha256=null")
    assert one(stage, "repeats").count == 403
    assert one(stage, "html").count == 309
    assert one(stage, "stray_quotes").count > 2
    assert "13.4 %" in one(stage, "unbalanced").what
    (stage,) = stages(path, model, "model.sha256=null", "data.train.quoting=minimal")
    assert one(stage, "broken_csv").severity == "error"
