"""What a user says of decisions in place of the bundle: thresholds, and that every row is answered."""

from collections.abc import Mapping
from dataclasses import replace

from trainer.contract.errors import InputError
from trainer.contract.labels import Abstain, LabelSpace

# Of a label that has none: what multi-label decides by.
_USUAL = 0.5


def with_thresholds(labels: LabelSpace, given: Mapping[str, float]) -> LabelSpace:
    """The labels with some thresholds changed; the others keep the bundle's, or 0.5 where it has none.

    Of two labels of which one is given, the other's becomes 1 minus it, so that `{"spam": 0.7}` means what it says:
    spam where its probability reaches 0.7. `LabelSpace` says how thresholds decide. Thresholds stand in place of costs,
    and a rule to abstain stays without what was shown of it. Raises InputError for a label that is none, with the
    nearest name, and for a threshold that is not between 0 and 1.
    """
    if not given:
        return labels
    thresholds = list(labels.thresholds or (_USUAL,) * len(labels))
    for name, value in given.items():
        if not 0 < value < 1:
            raise InputError(
                f"the threshold of {name!r} cannot be", found=value, expected="a number between 0 and 1, not either"
            )
        thresholds[labels.id(name)] = value
    if labels.kind == "single" and len(labels) == 2 and len(given) == 1:
        (name,) = given
        thresholds[1 - labels.id(name)] = 1 - given[name]
    # What was shown of the bundle's thresholds was not shown of others.
    abstain = None if labels.abstain is None else Abstain(below=labels.abstain.below)
    return replace(labels, thresholds=tuple(thresholds), costs=None, abstain=abstain)


def parse_thresholds(texts: tuple[str, ...]) -> dict[str, float]:
    """`NAME=0.7` of each. Raises ValueError for what is not of that form, for a number that is no threshold, and for a
    name given twice.
    """
    found: dict[str, float] = {}
    for text in texts:
        # A label may hold an equals sign; a number does not.
        name, sign, value = text.rpartition("=")
        if not sign or name in found:
            raise ValueError(f"expected NAME=NUMBER, each name once, found {text!r}")
        try:
            found[name] = float(value)
        except ValueError:
            raise ValueError(f"expected a number after {name}=, found {value!r}") from None
        if not 0 < found[name] < 1:
            raise ValueError(f"expected a number between 0 and 1, not either, after {name}=, found {value!r}")
    return found
