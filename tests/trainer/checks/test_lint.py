"""Lint on small made-up rows: each check finds its defect, and is silent without it."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests import tiny
from tests.trainer.sources import recipe, write
from trainer.checks.findings import Finding
from trainer.checks.lint import LintReport, lint
from trainer.checks.show import render_findings
from trainer.cli import main
from trainer.data.splitting.similar import clusters

WORDS = "red green blue white black small large old new round flat soft hard cold warm dry wet long short thin"


def sentence(number: int) -> str:
    """A text of eight words unlike those of other numbers."""
    return " ".join(random.Random(number).sample(WORDS.split(), 8))


def rows(number: int, extra: str = "", header: str = "text,label", rest: str = "") -> str:
    """A clean CSV of two classes in turn, then more lines."""
    lines = (f"{sentence(n)},{'spam' if n % 2 else 'ham'}{rest.format(n)}\n" for n in range(number))
    return f"{header}\n{''.join(lines)}{extra}"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with a tokenizer."""
    folder = tmp_path_factory.mktemp("model")
    tiny.config().save_pretrained(folder)
    tiny.tokenizer().save_pretrained(folder)
    return str(folder)


def report(data: Any, model: str, labels: Any = "label", **parts: Any) -> LintReport:
    """The lint report of a recipe over `data`."""
    return lint(recipe(data, labels, model={"name": model}, **parts))


def found(data: Any, model: str, labels: Any = "label", **parts: Any) -> dict[str, Finding]:
    """The findings by check, the first of each."""
    findings = report(data, model, labels, **parts).stages[0].findings
    return {finding.check: finding for finding in reversed(findings)}


def test_clean_rows_have_no_findings(tmp_path: Path, model: str) -> None:
    """Different texts, two even classes, nothing odd: no finding at all."""
    given = report({"train": {"files": write(tmp_path, rows(400))}, "split": {"test": 0.2}}, model)
    assert given.stages[0].findings == []
    assert given.stages[0].rows == {"train": 280, "validation": 40, "test": 80}
    assert "0 errors, 0 warnings, 0 notes" in render_findings(given)


def test_what_training_refuses_is_an_error_with_its_place(tmp_path: Path, model: str) -> None:
    """Broken records, null texts and unknown labels are counted apart, and the other checks go on."""
    extra = ",spam\n,ham\nsome,text,ham\nanother text,spamm\ncaf\u00e9,ham\n"
    file = write(tmp_path, rows(100, extra).replace("é", "\x00").encode().replace(b"\x00", b"\xe9"))
    labels = {"column": "label", "names": ["ham", "spam"]}
    findings = found({"train": {"files": file}}, model, labels)
    assert {name: findings[name].count for name in ("null_text", "field_count", "unknown_label")} == {
        "null_text": 2,
        "field_count": 1,
        "unknown_label": 1,
    }
    assert findings["invalid_encoding"].examples == (f"{file}:106: not utf-8",)
    assert "did you mean 'spam'" in findings["unknown_label"].do


@pytest.mark.parametrize(
    ("text", "check"),
    [
        ("text,label\na,x\nb,x\nc,x\n", "labels"),
        ("text,label\na,x\nb,y\n", "split"),
        ("text,label\n,x\n,y\n", "null_text"),
        ("text,label\na,\nb,\n", "null_label"),
        ("body,label\na,x\n", "cannot_read"),
        ("", "cannot_read"),
    ],
)
def test_rows_that_cannot_be_trained_on_are_one_error(tmp_path: Path, model: str, text: str, check: str) -> None:
    """One class, too few rows for a split, a missing column and an empty file are findings, not crashes."""
    findings = found({"train": {"files": write(tmp_path, text)}}, model)
    assert findings[check].severity == "error"
    assert findings[check].do


@pytest.mark.parametrize("kind", ["single", "multi"])
@pytest.mark.parametrize("text", ["text,label\n,a\n", "text,label\nt,\n", "text,label\nt,c\n", "text,label\nt,a\n"])
def test_files_with_hardly_a_row_do_not_crash_lint(tmp_path: Path, model: str, kind: str, text: str) -> None:
    """A single bad or lonely row in training, with good rows in validation, gives findings."""
    labels = {"column": "label", "names": ["a", "b"], "kind": kind}
    train, val = write(tmp_path, text), write(tmp_path, "text,label\nx y z,a\nz y,b\n", "v.csv")
    given = report(
        {"train": {"files": train}, "validation": {"files": val}}, model, labels, select={"metric": "accuracy"}
    )
    assert given.count("error") + given.count("warning") > 0
    assert render_findings(given)
    alone = report({"train": {"files": train}}, model, labels, select={"metric": "accuracy"})
    assert alone.count("error") > 0


def test_dropped_and_empty_texts_are_counted(tmp_path: Path, model: str) -> None:
    """With on_null: drop the loss is told by file; with empty the rows without any text are."""
    file = write(tmp_path, rows(100, ",spam\n,ham\n"))
    drop = found({"train": {"files": file}}, model, input={"text": "text", "on_null": "drop"})
    assert drop["nulls_dropped"].examples == (f"{file}: 2",)
    empty = found({"train": {"files": file}}, model, input={"text": "text", "on_null": "empty"})
    assert empty["empty_text"].examples == (f"{file}:102", f"{file}:103")


def test_training_texts_in_given_evaluation_files_are_an_error(tmp_path: Path, model: str) -> None:
    """A text of the validation file that training has is a leak, with both places; so is one of test in validation."""
    train, val = write(tmp_path, rows(100)), write(tmp_path, f"text,label\n{sentence(3)},spam\nnew one,ham\n", "v.csv")
    test = write(tmp_path, "text,label\nnew one,ham\nother one,spam\n", "t.csv")
    given = report({"train": {"files": train}, "validation": {"files": val}, "test": {"files": test}}, model)
    leaks = [finding for finding in given.stages[0].findings if finding.check == "leak"]
    assert [(leak.severity, leak.examples) for leak in leaks] == [
        ("error", (f"{train}:5 = {val}:2",)),
        ("error", (f"{val}:3 = {test}:2",)),
    ]


def test_evaluation_rows_that_an_earlier_stage_learnt(tmp_path: Path, model: str) -> None:
    """A test row of the second stage that the first was trained on is an error with both places."""
    first = write(tmp_path, rows(100))
    lines = "".join(f"{sentence(n)},{'spam' if n % 2 else 'ham'}\n" for n in range(300, 400))
    second = write(tmp_path, f"text,label\n{lines}", "2.csv")
    test = write(tmp_path, f"text,label\n{sentence(3)},spam\nnew,ham\n", "t.csv")
    later = {"train": {"files": second}, "test": {"files": test}}
    data = {"train": {"files": first}, "validation": {"files": write(tmp_path, "text,label\nx,ham\ny,spam\n", "v.csv")}}
    given = report(data, model, stages=[{"epochs": 1}, {"epochs": 1, "data": later}])
    leak = next(finding for finding in given.stages[1].findings if finding.check == "stage_leak")
    assert leak.examples == (f"{first}:5 = {test}:2",)
    assert not [finding for finding in given.stages[0].findings if finding.check == "stage_leak"]


def test_equal_texts_with_different_labels(tmp_path: Path, model: str) -> None:
    """One text under two labels is a conflict, with both places and labels; an equal pair is only a repeat."""
    extra = f"{sentence(0)},spam\n{sentence(1)},spam\n"
    file = write(tmp_path, rows(100, extra))
    findings = found({"train": {"files": file}}, model)
    assert findings["repeats"].count == 2
    assert findings["conflicts"].count == 1
    assert findings["conflicts"].examples[0].startswith(f"{file}:2 ham / {file}:102 spam")


def test_nearly_equal_texts_within_and_across_splits(tmp_path: Path, model: str) -> None:
    """A text with one word changed is found, and where it stands in validation the leak is a warning."""
    changed = (sentence(4).rpartition(" ")[0] + " other").replace(" ", "  ").upper()
    train, val = write(tmp_path, rows(100)), write(tmp_path, f"text,label\n{changed},ham\nnew,spam\n", "v.csv")
    findings = found({"train": {"files": train}, "validation": {"files": val}}, model)
    assert findings["near_repeats"].count == 2
    assert findings["near_leak"].examples == (f"{train}:6 = {val}:2",)
    assert "repeats" not in findings


def test_repeats_of_one_column_under_different_labels(tmp_path: Path, model: str) -> None:
    """Where title and text are joined, a text that comes again with another title and label is found."""
    lines = "".join(f"title {n} {sentence(n + 500)},{sentence(n)},{'ab'[n % 2]}\n" for n in range(100))
    file = write(tmp_path, f"title,text,label\n{lines}another headline,{sentence(0)},b\n")
    findings = found({"train": {"files": file}}, model, input={"text": ["title", "text"]})
    assert "'text'" in findings["column_repeats"].what
    assert "1 of them under different labels" in findings["column_repeats"].what
    assert findings["column_repeats"].examples == (f"{file}:2 = {file}:102",)


def test_labels_with_no_rows_with_few_and_lopsided_ones(tmp_path: Path, model: str) -> None:
    """A label of three rows, one that no row has, and shares of 50 to 1 are warnings."""
    file = write(tmp_path, rows(300, "".join(f"{sentence(n)},eggs\n" for n in (400, 500, 600))))
    labels = {"column": "label", "names": ["ham", "spam", "eggs", "beans"]}
    findings = found({"train": {"files": file}}, model, labels)
    assert "'beans'" in findings["no_rows"].what
    assert "'eggs'" in findings["few_rows"].what
    assert "3 of 303" in findings["unbalanced"].what


def test_other_label_shares_in_given_files(tmp_path: Path, model: str) -> None:
    """A validation file in which a label is far more frequent than in training is a warning."""
    lines = "".join(f"{sentence(n)},{'spam' if n % 5 else 'ham'}\n" for n in range(500, 550))
    train, val = write(tmp_path, rows(100)), write(tmp_path, f"text,label\n{lines}", "v.csv")
    findings = found({"train": {"files": train}, "validation": {"files": val}}, model)
    assert "is on 50 % of the training rows and on" in findings["label_shift"].what
    assert findings["label_shift"].count == 50


def test_sorted_files_and_files_of_one_label(tmp_path: Path, model: str) -> None:
    """A file that holds first one label and then the other is noted, as are files of one label each."""
    lines = [f"{sentence(n)},{'a' if n < 50 else 'b'}\n" for n in range(100)]
    whole = write(tmp_path, "text,label\n" + "".join(lines))
    assert "changes 1 times" in found({"train": {"files": whole}}, model)["sorted_by_label"].what
    first = write(tmp_path, "text,label\n" + "".join(lines[:50]), "1.csv")
    second = write(tmp_path, "text,label\n" + "".join(lines[50:]), "2.csv")
    assert "rows of a alone" in found({"train": {"files": [first, second]}}, model)["labels_by_file"].what


def test_groups_that_predict_the_label_are_found_unasked(tmp_path: Path, model: str) -> None:
    """A column of ten users, each with one label, is a leak that names its remedy, and the remedy silences it."""
    lines = "".join(f"{sentence(n)},{'ab'[n % 10 > 4]},user{n % 10}\n" for n in range(300))
    data = {"train": {"files": write(tmp_path, f"text,label,user\n{lines}")}}
    finding = found(data, model)["group_leak"]
    assert finding.severity == "warning"
    assert "predicts the label of 100 %" in finding.what
    assert "data.split.group=user" in finding.do
    assert "group_leak" not in found({**data, "split": {"group": "user"}}, model)


@pytest.mark.parametrize("column", ["valid", "candidate", "runtime", "note"])
def test_columns_of_another_meaning_are_no_groups_or_times(tmp_path: Path, model: str, column: str) -> None:
    """Numbers that come again in a column whose name only contains "id" or "time" are left alone."""
    lines = "".join(f"{sentence(n)},{'ab'[n % 2]},{random.Random(n).randrange(9)}\n" for n in range(200))
    findings = found({"train": {"files": write(tmp_path, f"text,label,{column}\n{lines}")}}, model)
    assert not {"group_leak", "time_leak"} & set(findings)


def test_the_asked_group_in_given_files_is_an_error(tmp_path: Path, model: str) -> None:
    """Where the recipe names a group, given files that share its values are refused by lint."""
    train = write(tmp_path, rows(100, header="text,label,user", rest=",u{}"))
    val = write(tmp_path, "text,label,user\nnew,ham,u7\nnewer,spam,u999\n", "v.csv")
    findings = found({"train": {"files": train}, "validation": {"files": val}, "split": {"group": "user"}}, model)
    assert (findings["group_leak"].severity, findings["group_leak"].count) == ("error", 1)


def test_times_across_a_random_split(tmp_path: Path, model: str) -> None:
    """A date column cut at random lets training know the future; cut by time it does not."""
    lines = "".join(f"{sentence(n)},{'ab'[n % 2]},2024-{n // 28 + 1:02}-{n % 28 + 1:02}\n" for n in range(200))
    file = write(tmp_path, f"text,label,date\n{lines}")
    assert "data.split.time=date" in found({"train": {"files": file}}, model)["time_leak"].do
    assert "time_leak" not in found({"train": {"files": file}, "split": {"time": "date"}}, model)


@pytest.mark.parametrize(
    ("text", "check"),
    [
        ("lost \ufffd here", "lost_characters"),
        ("caf\u00c3\u00a9 and \u00e2\u20ac\u0153so\u00e2\u20ac\u009d", "mojibake"),
        ("that\u0092s it", "control_characters"),
        ("fish &amp; chips", "html"),
        ("a <b>bold</b> word", "html"),
        ("it #39;s broken", "broken_html"),
        ("a line\\nbreak", "backslashes"),
        (" in front", "outer_space"),
    ],
)
def test_damage_is_found_and_shown(tmp_path: Path, model: str, text: str, check: str) -> None:
    """Each trace of a wrong encoding, of HTML or of an export is found, with its place and its surroundings."""
    file = write(tmp_path, rows(100, f'"{text}",ham\n'))
    findings = found({"train": {"files": file}}, model)
    assert findings[check].examples[0].startswith(f"{file}:102: ")
    assert findings[check].count == 1


@pytest.mark.parametrize(
    "text", ["S\u00c3O PAULO", "fran\u00e7ais \u00e0 Gen\u00e8ve", "a < b and c > d; x@y.de <x@y.de>", "R&D; AT&T"]
)
def test_good_text_is_not_taken_for_damage(tmp_path: Path, model: str, text: str) -> None:
    """Accents, comparison signs, addresses and ampersands are no damage."""
    findings = found({"train": {"files": write(tmp_path, rows(100, f'"{text}",ham\n'))}}, model)
    assert not {"mojibake", "html", "broken_html", "control_characters"} & set(findings)


def test_rows_swallowed_by_a_quote_are_found(tmp_path: Path, model: str) -> None:
    """A quote that opens in one row and closes in a later one leaves a cell with rows in it."""
    file = write(tmp_path, rows(100, '"so he said,ham\nwhat was next,spam\nand so on",ham\n'))
    finding = found({"train": {"files": file}}, model)["swallowed_rows"]
    assert (finding.count, "quoting: none" in finding.do) == (1, True)


def test_labels_in_several_spellings(tmp_path: Path, model: str) -> None:
    """Spellings of one label are listed with their counts; names that differ in case or an unseen character are a
    warning.
    """
    file = write(tmp_path, rows(100, f"{sentence(300)},1\n{sentence(301)},Spam\n"))
    findings = found({"train": {"files": file}}, model, {"column": "label", "mapping": {"1": "spam", "Spam": "Spam"}})
    assert "spam: 'spam' 50, '1' 1" in findings["label_spellings"].what
    assert "'Spam', 'spam'" in findings["label_names"].what
    file = write(tmp_path, rows(100, f"{sentence(300)},\u200bspam\n"))
    assert "'spam'" in found({"train": {"files": file}}, model)["label_names"].what


def test_columns_that_say_nothing(tmp_path: Path, model: str) -> None:
    """A constant column, a nameless one and empty cells of columns that are not read are noted."""
    file = write(tmp_path, rows(100, header="text,label,lang,note,", rest=",en,,{}"))
    findings = found({"train": {"files": file}}, model)
    assert "'lang' holds 'en'" in findings["constant_column"].what
    assert "unnamed_column" in findings
    assert "'note' 100" in findings["unread_nulls"].what


def test_truncation_and_lengths_by_label(tmp_path: Path, model: str) -> None:
    """A label whose texts the limit cuts more often than the other's is a warning; the table has its figures."""
    lines = "".join(f"{sentence(n)}{' and more of it' * (n % 2 * 10)},{'ab'[n % 2]}\n" for n in range(100))
    file = write(tmp_path, f"text,label\n{lines}")
    given = report({"train": {"files": file}}, model, input={"text": "text", "max_tokens": 40})
    finding = next(finding for finding in given.stages[0].findings if finding.check == "truncation")
    assert finding.severity == "warning"
    assert "of 'b' 100 %, of 'a' 0 %" in finding.what
    table = {line["label"]: line for line in given.stages[0].lengths}
    assert (table["a"]["words_median"], table["b"]["words_median"]) == (8, 48)
    assert (table["a"]["rows_cut"], table["b"]["rows_cut"], table["all"]["rows_cut"]) == (0.0, 1.0, 0.5)


def test_texts_of_two_lengths_and_far_longer_ones(tmp_path: Path, model: str) -> None:
    """Notes and articles in one file are told apart; a single giant is shown with its size."""
    lines = "".join(f"{sentence(n)}{(' ' + sentence(n + 300)) * (n % 3 // 2 * 12)},{'ab'[n % 2]}\n" for n in range(150))
    assert (
        "of 8 and 104 words"
        in found({"train": {"files": write(tmp_path, f"text,label\n{lines}")}}, model)["two_lengths"].what
    )
    file = write(tmp_path, rows(100, f"{'word ' * 500},ham\n"))
    assert found({"train": {"files": file}}, model)["far_longer"].examples == (f"{file}:102: 500 words",)


def test_texts_that_were_cut_before(tmp_path: Path, model: str) -> None:
    """Texts that mostly end at one length, in the middle of a word, were cut by somebody."""
    lines = "".join(
        f"{(sentence(n) + ' ' + sentence(n + 300) + ' ' + sentence(n + 600))[:100]},{'ab'[n % 2]}\n" for n in range(100)
    )
    findings = found({"train": {"files": write(tmp_path, f"text,label\n{lines}")}}, model)
    assert "at about 100 characters" in findings["cut_texts"].what


def test_unknown_tokens_are_counted_with_the_worst_text(tmp_path: Path, model: str) -> None:
    """A script that the tokenizer has no pieces for is a warning from one percent of the tokens on."""
    file = write(tmp_path, rows(100, "".join(f"{sentence(n)} 漢 字 漢 字 {'漢' * n},ham\n" for n in range(20))))
    finding = found({"train": {"files": file}}, model)["unknown_tokens"]
    assert finding.severity == "warning"
    assert finding.count >= 80


def test_multi_label_rows_without_labels_and_rare_combinations(tmp_path: Path, model: str) -> None:
    """Rows without a label and combinations of few rows are noted."""
    lines = "".join(f"{sentence(n)},{('a', 'b', 'a|b' if n < 12 else 'a', '')[n % 4]}\n" for n in range(200))
    labels = {"column": "label", "kind": "multi", "separator": "|"}
    findings = found({"train": {"files": write(tmp_path, f"text,label\n{lines}")}}, model, labels)
    assert findings["no_labels"].count == 50
    assert findings["rare_combinations"].examples == ("a + b: 3",)


def test_without_a_tokenizer_all_else_is_checked(tmp_path: Path) -> None:
    """A model that cannot be had is one warning, and words are counted in place of tokens."""
    given = report({"train": {"files": write(tmp_path, rows(100, f"{sentence(0)},spam\n"))}}, str(tmp_path / "none"))
    checks = [finding.check for finding in given.stages[0].findings]
    assert {"no_tokenizer", "conflicts"} <= set(checks)
    assert "words_median" in given.stages[0].lengths[0]
    assert "tokens_median" not in given.stages[0].lengths[0]


def test_the_command_ends_in_json_and_exits_3_on_errors(tmp_path: Path, model: str) -> None:
    """Findings go to standard output and end in one JSON line; errors make exit code 3, warnings do not."""
    path = tmp_path / "recipe.yaml"
    content = {
        "model": {"name": model},
        "data": {"train": {"files": "rows.csv"}},
        "input": {"text": "text"},
        "labels": {"column": "label"},
    }
    path.write_text(json.dumps(content))
    for extra, code in (("", 0), (",ham\n", 3)):
        write(tmp_path, rows(100, extra))
        ran = CliRunner().invoke(main, ["lint", str(path), "--quiet"])
        assert ran.exit_code == code, ran.output
        assert json.loads(ran.stdout.splitlines()[-1])["errors"] == (code == 3)
        assert ("must be mended" in ran.stderr) == (code == 3)


def test_like_texts_share_a_number() -> None:
    """Case, punctuation and spacing do not count; one word of ten may differ; unlike and short texts stay apart."""
    texts = ["one two three four five six seven eight nine ten"]
    texts += [
        texts[0].upper() + "!",
        texts[0].replace("five", "5"),
        "ten nine eight seven six five four",
        "one two",
        "two one",
    ]
    numbers = clusters(texts).tolist()
    assert numbers[0] == numbers[1] == numbers[2]
    assert len(set(numbers[2:])) == 4
