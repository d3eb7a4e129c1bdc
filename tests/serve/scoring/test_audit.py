"""The audit of a job's own rows: which they are, what they show, and the words for it."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from export.cascade.certificate import ClassBound, Target
from serve.scoring.audit import auditing, cascade_figures, joined, lines, rows_wanted
from serve.scoring.cascade import Auditing
from trainer.contract.errors import InputError

TARGET = Target(
    agreement=0.99,
    coverage=0.7,
    rows=5000,
    wrong=0,
    classes=tuple(
        ClassBound(label=name, rows=1666, wrong=0, bound=0.01, guard=0.1) for name in ("ham", "spam", "eggs")
    ),
)


def told(rows: int, wrong: int, share: float = 0.02, target: Target = TARGET) -> dict[str, Any]:
    """The report's part of a job whose audited rows are all of one class."""
    counts = {"taken": [1000], "audited": [rows // 2], "all": [rows, wrong], "0": [rows, wrong]}
    return cascade_figures(counts, target, share, 2000)


def test_the_audit_says_what_its_rows_show() -> None:
    """Enough rows without a mistake show the target, few show less by number, many mistakes break it; shares add up."""
    assert told(rows_wanted(TARGET), 0)["audit"]["verdict"] == "within"
    few = told(50, 0)["audit"]
    assert few["verdict"] == "not shown"
    assert few["high"] > 0.05
    assert told(1000, 30)["audit"]["verdict"] == "broken"
    assert joined([told(500, 0), told(500, 30)], 4000) == {**told(1000, 30), "rows_by_student": 2000}


def test_what_was_not_shown_is_said_with_what_it_takes() -> None:
    """A job that audits too few rows says by number what they show, how many would show the target, and how long a job
    audits so many unasked; where every row was audited, that the job is too short; where none was, that.
    """
    wanted = rows_wanted(TARGET)
    said = "\n".join(lines(told(50, 0)))
    assert "not shown to be within 1.00%: 0 of 50 differ [0.00%, 9.65%]; 50 rows show no better than 9.65%" in said
    assert "class ham (no better than 9.65%), class spam (no better than 100.00%)" in said
    assert f"some {wanted:,} audited rows would show it: --prove audits as many" in said
    assert f"at most 2% of a job's rows are audited, which is enough for a job of {wanted * 50:,} rows or more" in said
    assert "every row was audited, so this job has too few" in lines(told(50, 0, share=1.0))[-1]
    # --prove audited what it takes, and they show less than was to be expected.
    assert "would show" not in "\n".join(lines(told(50, 0, share=0.3)))
    assert "no row was audited" in "\n".join(lines(told(0, 0)))


@pytest.mark.parametrize("rows", [1, 1000, 50 * 1060, 10**6])
def test_a_job_of_as_many_rows_as_it_says_audits_enough(rows: int) -> None:
    """Unasked a job audits as many rows as the target needs and at most 2 % of its own; --prove as many as it has."""
    wanted = rows_wanted(TARGET)
    expected = {prove: rows * auditing(TARGET, rows, 1, prove=prove).share for prove in (False, True)}
    assert expected[False] == pytest.approx(min(wanted, 0.02 * rows))
    assert expected[True] == pytest.approx(min(wanted, rows))


def test_of_a_pipe_two_per_cent_are_audited() -> None:
    """Where nobody knows how many rows there are the largest share is audited, and nothing can be proven."""
    assert auditing(TARGET, None, 1, prove=False).share == 0.02
    with pytest.raises(InputError, match="--prove needs to know"):
        auditing(TARGET, None, 1, prove=True)


def test_the_words_for_rows_that_show_it_and_that_break_it() -> None:
    """A broken class is named with its own interval; neither what is shown nor what is broken asks for more rows."""
    shown, broken = lines(told(2000, 2)), lines(told(1000, 30))
    assert "shown to be within 1.00%: 2 of 2,000 differ" in shown[1]
    assert shown[2].startswith("  by class, shown: class ham; not shown: class spam (no better than 100.00%)")
    assert len(shown) == 3
    assert "broken, more than 1.00% differ: 30 of 1,000 differ" in broken[1]
    assert broken[2].startswith("  class ham: broken, more than 1.00% differ")
    assert "would show" not in "\n".join(broken)


def test_twenty_eight_labels_fit_on_a_line() -> None:
    """Of many classes five are named, and how many more there are."""
    many = replace(TARGET, classes=tuple(replace(TARGET.classes[0], label=f"label {number}") for number in range(28)))
    found = [line for line in lines(told(50, 0, target=many)) if "by class" in line]
    assert len(found) == 1
    assert "and 23 more" in found[0]


def test_audited_rows_are_a_share_by_place() -> None:
    """The share is kept over places, whole or cut in windows, and another key or input audits other rows."""
    audit = Auditing(share=0.02, key=12345)
    places = np.arange(200_000)
    chosen = audit.rows(0, places)
    assert abs(chosen.mean() - 0.02) < 0.002
    assert chosen.tolist() == np.concatenate([audit.rows(0, part) for part in np.split(places, 50)]).tolist()
    assert (chosen & audit.rows(1, places)).mean() < 0.001
    assert (chosen & replace(audit, key=12346).rows(0, places)).mean() < 0.001
    assert Auditing(share=1.0, key=1).rows(3, places).all()
