"""What several tests of scoring share."""

import csv
import json
from pathlib import Path
from typing import Any

from serve.job import ScoreJob, run
from serve.reading.sources import Reading
from serve.scoring.session import SessionOptions
from serve.scoring.settings import ScorerOptions


def score(bundle: Path, *inputs: Path, out: Path, precision: str = "fp32", **options: Any) -> dict[str, Any]:
    """Run a job in this process and return its report."""
    reading = Reading(**{name: options.pop(name) for name in list(options) if name in Reading.__dataclass_fields__})
    scorer = ScorerOptions(
        session=SessionOptions(precision=precision, device="cpu"),
        workers=options.pop("workers", 2),
        agreement=options.pop("agreement", None),
    )
    job = ScoreJob(
        bundle=bundle,
        inputs=tuple(map(str, inputs)),
        out=out,
        scorer=scorer,
        reading=reading,
        **{"quiet": True, **options},
    )
    return run(job)


def write_csv(path: Path, texts: list[str], delimiter: str = ",") -> Path:
    """Columns id and text."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerow(["id", "text"])
        writer.writerows([row, text] for row, text in enumerate(texts))
    return path


def read_csv(path: Path, delimiter: str = ",") -> list[dict[str, str]]:
    """All rows of a CSV file."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter=delimiter, strict=True))


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """All rows of a JSON lines file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]
