"""The scorer in Python: iterables of any length, and the libraries that people keep their rows in."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from serve import Scorer
from tests.serve import bundles

README = Path(__file__).parents[2] / "serve" / "README.md"
TEXTS = bundles.texts(50)


@pytest.fixture
def scorer(single: Path) -> Iterator[Scorer]:
    """An fp32 scorer."""
    with Scorer.open(single, precision="fp32", workers=2) as opened:
        yield opened


def test_score_iter_is_predict(scorer: Scorer) -> None:
    """Row by row, whatever the window, labels and probabilities are those of `predict` and `predict_proba`."""
    labels, probabilities = scorer.predict(TEXTS), scorer.predict_proba(TEXTS)
    for window in (1, 7, 50, 4096):
        rows = list(scorer.score_iter(iter(TEXTS), window=window))
        assert [row.row for row in rows] == TEXTS
        assert [row.labels for row in rows] == [(label,) for label in labels]
        found = np.array([row.probabilities for row in rows])
        np.testing.assert_allclose(found, probabilities, atol=1e-6)


def test_score_iter_reads_little_ahead(scorer: Scorer) -> None:
    """An endless iterable is read a few windows ahead and no further."""
    taken = 0

    def endless() -> Iterator[str]:
        nonlocal taken
        while True:
            taken += 1
            yield f"row {taken}"

    rows = scorer.score_iter(endless(), window=10)
    for _ in range(25):
        next(rows)
    assert taken <= 50


def test_score_iter_goes_on_after_bad_rows(scorer: Scorer) -> None:
    """A row that cannot be scored carries its reason; the others are scored."""
    rows = list(scorer.score_iter(["fine", None, {"text": ""}, 5, {"text": "fine"}], window=2))
    assert [row.reason for row in rows] == [None, "null_text", "null_text", "not_text", None]
    assert rows[0].labels == rows[4].labels != ()
    assert rows[1].probabilities is None


def test_no_rows(scorer: Scorer) -> None:
    """No rows give no rows."""
    assert list(scorer.score_iter([])) == []


def test_multi_label(multi: Path) -> None:
    """A multi-label row has any number of labels."""
    with Scorer.open(multi, precision="fp32") as scorer:
        assert [list(row.labels) for row in scorer.score_iter(TEXTS)] == scorer.predict(TEXTS)


@pytest.fixture
def tables() -> dict[str, Any]:
    """The same texts in each library, by the names that the README gives them."""
    return {
        "frame": pd.DataFrame({"text": TEXTS}),
        "polars_frame": pl.DataFrame({"text": TEXTS}),
        "table": pa.table({"text": TEXTS}),
        "rows": datasets.Dataset.from_dict({"text": TEXTS}),
    }


def test_libraries(scorer: Scorer, tables: dict[str, Any]) -> None:
    """The README's line for pandas, polars, pyarrow and `datasets.map` each adds the column that `predict` gives."""
    blocks = re.findall(r"^```python\n(.*?)^```", README.read_text(), flags=re.MULTILINE | re.DOTALL)
    (code,) = (block for block in blocks if "polars_frame" in block)
    names: dict[str, Any] = {"scorer": scorer, "pl": pl, "pa": pa, **tables}
    exec(code, names)  # noqa: S102  It is our own page.
    for name in tables:
        found = names[name]["prediction"]
        assert (found.to_pylist() if name == "table" else list(found)) == scorer.predict(TEXTS), name
