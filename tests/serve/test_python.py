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
import pyarrow.parquet as pq
import pytest

from serve import Scorer
from tests.serve import bundles
from tests.serve.helpers import score
from trainer.contract.errors import InputError

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


@pytest.mark.parametrize("call", ["predict", "predict_proba", "scores", "score_iter"])
@pytest.mark.parametrize(
    ("given", "found", "right"),
    [
        ("FREE", "one text", "(['FREE'])"),
        (b"FREE", "one text", "(['a text'])"),
        ({"text": "FREE"}, "one row", "([row])"),
        (pd.DataFrame({"text": ["a"]}), "a table of pandas", "predict_table(table), or"),
        (pl.DataFrame({"text": ["a"]}), "a table of polars", "(table['text'])"),
        (pa.table({"text": ["a"]}), "a table of pyarrow", "(table['text'])"),
        (None, "NoneType", "(['a text'])"),
        (5, "int", "(['a text'])"),
    ],
)
def test_what_is_no_list_of_rows(scorer: Scorer, call: str, given: Any, found: str, right: str) -> None:
    """One text, one row or a table, of which letters or names would be scored, is refused with the right call."""
    with pytest.raises(InputError) as caught:
        list(getattr(scorer, call)(given))
    assert caught.value.details["found"] == found
    assert right in caught.value.details["do"]


@pytest.mark.parametrize(
    "make", [list, tuple, iter, pd.Series, pl.Series, pa.array, np.array, lambda texts: pa.chunked_array([texts])]
)
def test_what_is_a_list_of_rows(scorer: Scorer, make: Any) -> None:
    """A column of any library, and any iterable, is as good as a list."""
    assert scorer.predict(make(TEXTS)) == scorer.predict(TEXTS)


def _table(name: str, columns: dict[str, list[Any]]) -> Any:
    return {"pandas": pd.DataFrame, "polars": pl.DataFrame, "pyarrow": pa.table}[name](columns)


def _columns(table: Any) -> dict[str, list[Any]]:
    """A table's columns as Python's values; pandas has NaN for a null number."""
    if isinstance(table, pd.DataFrame):
        return {
            name: [
                None if pd.api.types.is_scalar(value) and pd.isna(value) else value for value in table[name].tolist()
            ]
            for name in table.columns
        }
    return table.to_pydict() if isinstance(table, pa.Table) else table.to_dict(as_series=False)


TABLES = pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])


@TABLES
@pytest.mark.parametrize("kind", ["single", "multi"])
def test_predict_table_is_a_scored_file(
    library: str, kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """A table gets the columns, of the same values, that a job writes for the same rows to Parquet."""
    bundle = request.getfixturevalue(kind)
    table = _table(library, {"id": list(range(50)), "text": TEXTS})
    with Scorer.open(bundle, precision="fp32", workers=2) as scorer:
        found = _columns(scorer.predict_table(table, probabilities=True, prefix="our "))
    pq.write_table(pa.table({"id": list(range(50)), "text": TEXTS}), tmp_path / "in.parquet")
    score(bundle, tmp_path / "in.parquet", out=tmp_path / "out.parquet", probabilities=True, prefix="our ")
    expected = pq.read_table(tmp_path / "out.parquet").to_pydict()
    assert list(found) == list(expected)
    for name, values in expected.items():
        if name.startswith("our p_"):
            np.testing.assert_allclose(found[name], values, atol=1e-6)
        elif "confidence" not in name:
            assert found[name] == values
    assert len(_columns(table)) == 2


@TABLES
def test_predict_table_tells_nulls(scorer: Scorer, library: str) -> None:
    """A row without a text is an error that names it, or has nulls and its reason; the others are scored."""
    table = _table(library, {"text": ["fine", None, "", "good"], "n": [1, 2, 3, 4]})
    with pytest.raises(InputError, match="cannot be scored") as caught:
        scorer.predict_table(table)
    assert (caught.value.details["where"], "2 of 4" in caught.value.details["found"]) == ("row 1", True)
    found = _columns(scorer.predict_table(table, on_error="null"))
    assert list(found) == ["text", "n", "prediction", "confidence", "error"]
    assert found["error"] == [None, "null_text", "null_text", None]
    assert [found["prediction"][row] for row in (0, 3)] == scorer.predict(["fine", "good"])
    assert found["prediction"][1] is found["confidence"][2] is None
    assert found["n"] == [1, 2, 3, 4]


@TABLES
def test_predict_table_of_no_rows_and_of_wrong_columns(scorer: Scorer, library: str) -> None:
    """No rows give the columns; a table without the text column, or with one of ours, is refused by name."""
    assert list(_columns(scorer.predict_table(_table(library, {"text": []})))) == ["text", "prediction", "confidence"]
    with pytest.raises(InputError, match="no column 'text'"):
        scorer.predict_table(_table(library, {"Text": ["a"]}))
    with pytest.raises(InputError, match="has a column 'prediction'"):
        scorer.predict_table(_table(library, {"text": ["a"], "prediction": ["x"]}))


@pytest.mark.parametrize("given", [["a"], "a", pd.Series(["a"]), pl.LazyFrame({"text": ["a"]}).lazy, None])
def test_predict_table_of_what_is_no_table(scorer: Scorer, given: Any) -> None:
    """What is no table is refused with the call for lists."""
    with pytest.raises(InputError, match="takes a table"):
        scorer.predict_table(given)


def test_an_index_is_kept(scorer: Scorer) -> None:
    """A pandas frame keeps its index, also one with repeats."""
    frame = pd.DataFrame({"text": ["a", "b", "c"]}, index=[7, 7, 3])
    found = scorer.predict_table(frame)
    assert found.index.tolist() == [7, 7, 3]
    assert found["prediction"].tolist() == scorer.predict(["a", "b", "c"])
