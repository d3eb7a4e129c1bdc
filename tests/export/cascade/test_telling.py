"""A certificate in words, also of many labels."""

from dataclasses import replace

from export.cascade.certificate import Cascade, ClassBound, Target
from export.cascade.telling import card_section, cascade_lines


def cascade(*bounds: float) -> Cascade:
    """Proven for 0.995, with a class for each of the bounds."""
    classes = tuple(
        ClassBound(label=f"c{number}", rows=100 + number, wrong=0, bound=bound, guard=0.1)
        for number, bound in enumerate(bounds)
    )
    target = Target(agreement=0.995, coverage=0.7, rows=4000, wrong=1, classes=classes)
    return Cascade(
        version=1,
        file="student",
        precision="int8",
        confidence=0.95,
        student_rows=1000,
        agreement=0.94,
        targets=(target,),
        missing={"0.998": "too few"},
    )


def test_a_class_of_too_few_rows_is_told_by_number() -> None:
    """Where its rows prove no better, the class, their number and the bound are named; a class that keeps the target's
    bound is not.
    """
    found = cascade_lines(cascade(0.005, 0.0261))
    assert [line for line in found if "prove no better" in line] == [
        "  class c1: 101 rows prove no better than 2.61%; give more with --unlabelled"
    ]
    assert found[-1] == "0.998     not proven: too few"
    assert "| class `c1` 2.61%, each other 0.50% |" in card_section(cascade(0.005, 0.0261))
    assert "| each 0.50% |" in card_section(cascade(0.005, 0.005))


def test_of_many_classes_the_loosest_are_named() -> None:
    """28 labels make neither 56 lines an agreement nor a cell that nobody reads."""
    bounds = [0.01 + number / 1000 for number in range(28)]
    told = [line for line in cascade_lines(cascade(*bounds)) if line.startswith("  ")]
    assert [line.split(":")[0].strip() for line in told[:5]] == [
        "class c27",
        "class c26",
        "class c25",
        "class c24",
        "class c23",
    ]
    assert told[5:] == ["  and 23 more of too few rows, with bounds up to 3.20%"]
    assert "23 more up to 3.20% |" in card_section(cascade(*bounds))
    unanswered = replace(cascade(0.02).targets[0].classes[0], label="", answer="not answered")
    bound = replace(cascade(0.02), targets=(replace(cascade(0.02).targets[0], classes=(unanswered,)),))
    assert any(line.startswith("  rows that are not answered: 100 rows") for line in cascade_lines(bound))
