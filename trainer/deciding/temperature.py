"""One number that logits are divided by, so that probabilities mean what they say (Guo et al. 2017, arXiv 1706.04599).

It changes the order of no row's labels, so without thresholds it changes no decision.
"""

import numpy as np

from trainer.contract.errors import InputError
from trainer.contract.labels import LabelSpace
from trainer.deciding.parts import Rows

LEAST_TEMPERATURE_ROWS = 50
# Beyond these the rows say nothing but that all of them are right, or that the logits say nothing.
LOW, HIGH = 0.05, 20.0
# Halvings of that range on a logarithmic scale: to 1e-12 of the number.
_HALVINGS = 42


def require_temperature_rows(rows: Rows, of: int) -> None:
    """Raise InputError where there are fewer rows than a temperature is fitted on. of: all validation rows."""
    if len(rows) < LEAST_TEMPERATURE_ROWS:
        raise InputError(
            f"a temperature needs {LEAST_TEMPERATURE_ROWS} validation rows to fit it on; there are {len(rows)}",
            found=f"{of} validation rows" + (", of which the others test what is promised" if of > len(rows) else ""),
            do="give more validation rows, or leave the temperature out (--no-temperature; `temperature: false`)",
        )


def fit_temperature(rows: Rows, space: LabelSpace) -> tuple[float, str]:
    """The temperature of the least negative log-likelihood, and how it was found, in words.

    That is convex in the inverse temperature, so its slope has one zero, which is halved down to: no step can go
    astray. Stays 1 where the zero lies outside of LOW and HIGH, as it does where no row is wrong.
    """
    low, high = 1 / HIGH, 1 / LOW
    if _slope(rows, space, low) >= 0 or _slope(rows, space, high) <= 0:
        return 1.0, f"the {len(rows)} rows fit none between {LOW:g} and {HIGH:g}, so it stays 1"
    for _ in range(_HALVINGS):
        middle = float(np.sqrt(low * high))
        low, high = (middle, high) if _slope(rows, space, middle) < 0 else (low, middle)
    return float(1 / np.sqrt(low * high)), f"of the least negative log-likelihood of {len(rows)} rows"


def _slope(rows: Rows, space: LabelSpace, inverse: float) -> float:
    """How fast the negative log-likelihood rises with the inverse temperature."""
    logits = rows.logits.astype(np.float64)
    if space.kind == "multi":
        # sigmoid, without an overflow at either end.
        expected = (1 + np.tanh(logits * inverse / 2)) / 2
        return float(((expected - rows.labels) * logits).mean())
    # What all logits of a row have in common says nothing.
    logits -= logits.max(axis=1, keepdims=True)
    weights = np.exp(logits * inverse)
    means = (weights * logits).sum(axis=1) / weights.sum(axis=1)
    return float((means - logits[np.arange(len(logits)), rows.labels.astype(np.int64)]).mean())
