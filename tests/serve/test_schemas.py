"""Reports and side files are what their schemas say, wherever the rows go."""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from fsspec.implementations.memory import MemoryFileSystem

import serve
from serve.journal.output import merge
from tests.serve import bundles
from tests.serve.helpers import score, write_csv
from trainer.contract.errors import InputError

ROOT = Path(serve.__file__).parent
REPORT = json.loads((ROOT / "journal" / "report.schema.json").read_text())
ERRORS = json.loads((ROOT / "writing" / "errors.schema.json").read_text())


def _holds(schema: dict[str, Any], found: object) -> None:
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(found, schema, jsonschema.Draft202012Validator)


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """100 rows, one of them bad."""
    return write_csv(tmp_path / "in.csv", [*bundles.texts(99), ""])


@pytest.mark.parametrize("place", ["file", "parts", "url", "shards", "shards at a url"])
def test_report(single: Path, rows: Path, tmp_path: Path, place: str) -> None:
    """Each kind of report fits the schema, names its bundle, and says when it was made."""
    out: Any = (tmp_path / "out.csv").as_uri() if "url" in place else tmp_path / "out.csv"
    parts = {"part_rows": 40} if place == "parts" or "url" in place else {}
    report = {}
    for number in (1, 2) if "shards" in place else (None,):
        shard: Any = {"shard": (number, 2)} if number else {}
        report = score(single, rows, out=out, window=20, **parts, **shard)
        _holds(REPORT, json.loads(json.dumps(report)))
    if "shards" in place:
        report = merge(out)
        _holds(REPORT, report)
    assert report["bundle"] == {"name": "tiny", "sha256": report["job"]["bundle"]}
    assert report["started"] <= report["ended"]
    assert report["status"] == "done with rejects"


def test_side_file(single: Path, tmp_path: Path) -> None:
    """Each line of a side file fits the schema, whatever was wrong with its row."""
    lines = [b'{"text": "fine"}', b'{"text": ', b"[1]", b'{"text": 5}', b'{"text": "\\ud800"}', b'{"text": ""}']
    lines += [b'{"text": "' + b"\xff" * 600 + b'"}', b'{"text": "' + b"x" * 200 + b'"}']
    (tmp_path / "in.jsonl").write_bytes(b"\n".join(lines))
    score(single, tmp_path / "in.jsonl", out=tmp_path / "out.jsonl", max_chars=100)
    found = [json.loads(line) for line in (tmp_path / "out.jsonl.errors.jsonl").read_text().splitlines()]
    assert len(found) == 7
    for line in found:
        _holds(ERRORS, line)


def test_every_reason_of_the_page_is_in_the_schema() -> None:
    """The words that the page promises are those of the schema."""
    page = " ".join((ROOT / "README.md").read_text().split())
    lists = re.findall(r"(?:Reasons:|with its `column`:) `([a-z_ ]+)`", page)
    assert len(lists) == 2
    assert {word for words in lists for word in words.split()} == set(ERRORS["properties"]["reason"]["enum"])


def test_the_schemas_can_fail(single: Path, rows: Path, tmp_path: Path) -> None:
    """A key more, a count below zero and a reason that no page names are found."""
    report = score(single, rows, out=tmp_path / "out.csv")
    line = json.loads((tmp_path / "out.csv.errors.jsonl").read_text())
    for schema, wrong in (
        (REPORT, {**report, "extra": 1}),
        (REPORT, {**report, "rows_read": -1}),
        (REPORT, {name: value for name, value in report.items() if name != "bundle"}),
        (ERRORS, {**line, "reason": "odd"}),
    ):
        with pytest.raises(jsonschema.ValidationError):
            _holds(schema, json.loads(json.dumps(wrong)))


def test_a_file_system_of_its_own_errors(single: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a file system raises while an input is looked up, opened or read is an error of ours."""

    class TheirError(Exception):
        """What no library shares."""

    def failing(*_: Any, **__: Any) -> Any:
        raise TheirError("slow down")

    system = MemoryFileSystem()
    system.pipe_file("/in/rows.csv", write_csv(tmp_path / "in.csv", ["x"]).read_bytes())
    url: Any = "memory://in/rows.csv"
    for name in ("info", "isdir", "open"):
        with monkeypatch.context() as patch:
            patch.setattr(MemoryFileSystem, name, failing)
            with pytest.raises(InputError, match=r"URL cannot be opened|cannot be read") as error:
                score(single, url, out=tmp_path / "out.csv")
        assert "TheirError" in str(error.value)
    system.rm("/in", recursive=True)
