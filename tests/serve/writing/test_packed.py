"""Compressed outputs: read by the usual tools, exactly once like any other, and the same bytes in shares."""

import csv
import gzip
import io
import json
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest

from serve.journal.output import merge
from serve.writing.formats import output_format
from serve.writing.layout import AddedColumns, Layout
from serve.writing.text_out import CsvFormat, RowBlock
from tests.serve import bundles
from tests.serve.helpers import read_csv, score, write_csv
from trainer.contract.errors import InputError
from trainer.contract.labels import LabelSpace
from trainer.contract.text_files.records import Record

TEXTS = bundles.texts(30)


def _unpacked(path: Path) -> str:
    if path.suffix == ".gz":
        return gzip.decompress(path.read_bytes()).decode()
    with pa.CompressedInputStream(str(path), "zstd") as stream:
        return bytes(stream.read()).decode()


@pytest.mark.parametrize("suffix", ["csv.gz", "csv.zst", "tsv.gz", "jsonl.gz", "jsonl.zst"])
def test_compressed_outputs(single: Path, tmp_path: Path, suffix: str) -> None:
    """What a compressed output holds is the plain output, whatever the windows; its digest does not depend on time."""
    rows = write_csv(tmp_path / "in.csv", TEXTS)
    score(single, rows, out=tmp_path / f"plain.{suffix.partition('.')[0]}", window=7)
    plain = (tmp_path / f"plain.{suffix.partition('.')[0]}").read_text()
    digests = {score(single, rows, out=tmp_path / f"{n}.{suffix}", window=7)["sha256"] for n in range(2)}
    assert _unpacked(tmp_path / f"0.{suffix}") == plain
    assert len(digests) == 1
    if suffix == "csv.gz":
        assert subprocess.run(["zcat", tmp_path / "0.csv.gz"], capture_output=True, check=True).stdout.decode() == plain
        assert pa.csv.read_csv(tmp_path / "0.csv.gz").num_rows == len(TEXTS)
        # And by ourselves.
        assert score(single, tmp_path / "0.csv.gz", out=tmp_path / "x.csv", prefix="n_")["rows_scored"] == len(TEXTS)


def test_parts_and_shares_are_compressed_too(single: Path, tmp_path: Path) -> None:
    """A folder of parts names its parts by format and compression; merged shares are the bytes of one job."""
    rows = write_csv(tmp_path / "in.csv", TEXTS)
    score(single, rows, out=tmp_path / "parts.csv.gz", part_rows=10, window=5)
    assert sorted(path.name for path in (tmp_path / "parts.csv.gz").iterdir()) == [
        f"part-0000{part}.csv.gz" for part in range(3)
    ]
    score(single, rows, out=tmp_path / "one.csv.gz", window=5)
    for share in (1, 2):
        score(single, rows, out=tmp_path / "two.csv.gz", window=5, shard=(share, 2))
    merge(tmp_path / "two.csv.gz")
    assert (tmp_path / "two.csv.gz").read_bytes() == (tmp_path / "one.csv.gz").read_bytes()


def test_no_rows_are_a_whole_file(single: Path, tmp_path: Path) -> None:
    """An output without rows is a gzip file too, which a file of no bytes is not."""
    (tmp_path / "in.csv").write_text("id,text\n")
    score(single, tmp_path / "in.csv", out=tmp_path / "out.jsonl.gz")
    assert gzip.decompress((tmp_path / "out.jsonl.gz").read_bytes()) == b""
    assert (tmp_path / "out.jsonl.gz").stat().st_size > 0


def test_formats_by_name() -> None:
    """A name says format and compression; --out-format overrules the format alone; Parquet takes no second one."""
    assert output_format("a/b.CSV.gz") == "csv.gz"
    assert output_format("b.pq") == "parquet"
    assert output_format("b.ndjson.zst") == "jsonl.zst"
    assert output_format("b.gz", "csv") == "csv.gz"
    assert output_format("s3://bucket/data", "csv") == "csv"
    with pytest.raises(InputError, match="compressed inside"):
        output_format("b.parquet.gz")
    with pytest.raises(InputError, match="unknown"):
        output_format("b.xyz")


def test_merge_writes_what_the_job_wrote(single: Path, tmp_path: Path) -> None:
    """Shares of a job whose --out-format was not that of its name are merged in the job's format."""
    rows = write_csv(tmp_path / "in.csv", TEXTS)
    for share in (1, 2):
        score(single, rows, out=tmp_path / "o.csv", window=5, shard=(share, 2), out_format="parquet")
    merge(tmp_path / "o.csv")
    assert (tmp_path / "o.csv").read_bytes()[:4] == b"PAR1"
    for share in (1, 2):
        score(single, rows, out=tmp_path / "o.parquet", window=5, shard=(share, 2), out_format="csv")
    merge(tmp_path / "o.parquet")
    assert len(read_csv(tmp_path / "o.parquet")) == len(TEXTS)


def test_names_that_hold_the_separator() -> None:
    """Labels "p|q", "p" and "q" are told apart in CSV: cells are JSON lists, as are their confidences."""
    labels = LabelSpace(names=("p|q", "p", "q"), kind="multi")
    scores = AddedColumns.of(labels, "", probabilities=False)
    layout = Layout(columns=("text",), kinds={"text": "text"}, schema=None, scores=scores)
    logits = np.array([[9, -9, -9], [-9, 9, 9], [-9, -9, -9]], dtype=np.float32)
    block = RowBlock(
        records=[Record(line=line, values={"text": "a"}) for line in (2, 3, 4)],
        table=None,
        scores=labels.decode(logits),
        places=[0, 1, 2],
        reasons=[None] * 3,
    )

    def cells(given: LabelSpace) -> list[str]:
        output = CsvFormat(layout, given, ",")
        text = (output.head() + output.encode(block)).decode()
        return [row["predictions"] for row in csv.DictReader(io.StringIO(text))]

    assert cells(labels) == ['["p|q"]', '["p", "q"]', "[]"]
    assert cells(replace(labels, names=("pq", "p", "q"))) == ["pq", "p|q", ""]


def test_most_likely_labels_that_hold_the_separator() -> None:
    """Of a single-label model too, the most likely labels are JSON lists where a name holds the separator, and the
    decision stays plain text.
    """
    labels = LabelSpace(names=("p|q", "p", "q"))
    layout = Layout(columns=(), kinds={}, schema=None, scores=AddedColumns.of(labels, "", probabilities=False, top_k=2))
    scores = labels.decode(np.array([[2, 1, 0]], dtype=np.float32))
    record = Record(line=2, values={})
    block = RowBlock(records=[record, record], table=None, scores=scores, places=[0, None], reasons=[None, "null_text"])
    output = CsvFormat(layout, labels, ",")
    first, second = csv.DictReader(io.StringIO((output.head() + output.encode(block)).decode()))
    assert (first["prediction"], first["top_labels"]) == ("p|q", '["p|q", "p"]')
    assert json.loads(first["top_confidences"]) == pytest.approx([0.665241, 0.244728], abs=1e-5)
    assert set(second.values()) == {""}
