"""What pages promise in numbers and names is what the code holds: a constant that moves takes its sentence with it."""

import json
import re
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml

import export.fp16.convert
import export.int8.choose
import export.passes.choose
import serve.cli
import serve.job
import serve.operations.dry_run
import serve.reading.columns
import serve.reading.windows
import serve.scorer
import serve.scoring.cascade
import serve.writing.rejects
import trainer.cli
import trainer.contract.explaining.explain as explaining
import trainer.deciding.parts
import trainer.evaluation.slicing.slices
from classifact.cli import COMMANDS
from export.bundle import GOLDEN_CAP
from export.cascade import rows as cascade
from export.cascade import training
from export.cascade.certificate import AGREEMENTS
from export.cascade.certify import DELTA
from export.cascade.windows import LEAST_TOKENS, MOST_TOKENS, WINDOWS
from export.passes import PREPARING
from export.passes.flash_attention import FROM_TOKENS
from export.pipeline import ExportJob
from export.trained_run import BATCH_TOKENS, LEAST_GATE_ROWS
from serve.journal.store import TRIES
from serve.reading.sources import COMPRESSION_NAMES, INPUT_FORMATS, Reading
from serve.writing.formats import OUTPUT_SUFFIXES
from serve.writing.rejects import ErrorBound
from trainer.contract import schema
from trainer.contract.explaining.explain import ExplainOptions
from trainer.contract.explaining.words import MOST_UNITS
from trainer.contract.figures import drift
from trainer.contract.figures.exact import rows_needed
from trainer.contract.text_files.formats import COMPRESSIONS, FORMATS
from trainer.opening.hub import HUB_FILES
from trainer.recipes.recipe import Recipe

ROOT = Path(__file__).parents[1]
# Which stand in words on the page.
_WORDS = {4: "four", 5: "five", 10: "a tenth", 3: "A third", 20: "the top fifth"}
_EXTREME = export.fp16.convert._EXTREME_ROWS
SCORING = (
    f"(`--window`, {Reading.window:,} rows or {serve.reading.windows._WINDOW_BYTES >> 20} MB with all their columns)",
    f"keys after the first {serve.reading.columns.MAX_COLUMNS:,}",
    f"the raw text cut to {serve.writing.rejects._RAW}\n  characters",
    f"more than {ErrorBound.rows} rows and more than {100 * ErrorBound.share:.0f} % of those read",
    f"a call that fails is tried {_WORDS[TRIES]} times",
    f"Inputs of {serve.job.LONG_BYTES >> 20} MB and more are tuned",
    f"(p at most {drift.DRIFT_LEVEL} over all of these)",
    f"a Jensen-Shannon distance of {drift.LEAST_DISTANCE} or\n  more",
    f"Fewer than {drift.LEAST_DRIFT_ROWS} rows are not judged",
    f"(at most {_WORDS[round(1 / GOLDEN_CAP)]} of the largest)",
    f"at most {100 * serve.scoring.cascade.MOST_AUDITED:.0f} % of them",
    f"({ExplainOptions.samples:,} texts with words left out at random",
    f"More than {MOST_UNITS} words are taken in groups",
    f"and {explaining._DRAWS} times as many others",
    f"the log-odds by {explaining._MARGIN} more",
    f"scores a sample for {_WORDS[round(serve.operations.dry_run._SAMPLE_SECONDS)]} seconds",
    f"batches of {serve.scorer._GPU_TOKENS:,} tokens",
)
EXPORT = (
    f"A run with fewer than {LEAST_GATE_ROWS} validation rows is refused",
    f"({BATCH_TOKENS} padded tokens)",
    f"slower by {100 * (export.passes.choose.LOSES - 1):.0f} % in every round",
    f"stand, on average, in rows of {FROM_TOKENS} tokens or more",
    f"The first {_WORDS[len(PREPARING)]} clear the way and are never raced",
    f"`--max-drop`, {ExportJob.max_drop}",
    f"faster by {100 * (export.int8.choose.WORTH - 1):.0f} % in every round",
    f"within a factor of {_WORDS[export.fp16.convert.HEADROOM]} of fp16's",
    f"on the {_EXTREME} longest and the {_EXTREME} most clearly decided",
    f"(beyond {export.fp16.convert._NEVER:.0e})".replace("+", ""),
    f"(hashed into {training.BUCKETS:,} buckets), a bias, a ReLU, one product: {training.HIDDEN} numbers wide",
    f"and {100 * cascade.STUDENT_SHARE:.0f} % of the different rows under `--unlabelled`, "
    f"or {100 * cascade.SMALL_STUDENT_SHARE:.0f} % where the training rows outnumber those",
    f"**What measures what is then realised**: {100 * cascade.FURTHER_SHARE:.0f} % (further rows)",
    f"At most {cascade.MOST_STUDENT_ROWS:,} rows teach, and at most {cascade.MOST_STUDENT_ROWS:,} unlabelled rows are",
    f"{WINDOWS:,} of {LEAST_TOKENS} to {MOST_TOKENS} tokens",
    f"{2 * training.HIDDEN * (training.BUCKETS + 30_522) / 1e6:.0f} MB for a vocabulary of 30,522",
    f"For {', '.join(map(str, AGREEMENTS[:-1]))} and {AGREEMENTS[-1]}, with {100 * (1 - DELTA):.0f} % for all bounds",
    f"a class of four takes {rows_needed(1 - AGREEMENTS[2], DELTA / 5)} rows of it without one mistake",
)
LAUNCHING = (
    f"{_WORDS[round(1 / trainer.deciding.parts.FITTED)]} of the validation rows fits temperature",
    f"each of the {'ten' if trainer.evaluation.slicing.slices.VALUES == 10 else 'other'} commonest values",
    f"by what four {'fifths' if trainer.deciding.parts.DECISION_FOLDS == 5 else 'of others'} of the others chose",
)


@pytest.mark.parametrize(
    ("page", "sentence"),
    [
        *(("serve/README.md", sentence) for sentence in SCORING),
        *(("export/README.md", sentence) for sentence in EXPORT),
        *(("launch_configs/README.md", sentence) for sentence in LAUNCHING),
    ],
)
def test_numbers_on_pages_are_those_of_the_code(page: str, sentence: str) -> None:
    """A sentence made of the code's constant stands on the page, whatever its line breaks."""
    assert " ".join(sentence.split()) in " ".join((ROOT / page).read_text(encoding="utf-8").split())


def test_the_reasons_on_the_page_are_those_of_the_side_file() -> None:
    """Reasons of rejected rows and of cells left out: the page's two lists are the schema's."""
    text = " ".join((ROOT / "serve" / "README.md").read_text(encoding="utf-8").split())
    rows, cells = re.search(r"Reasons: `([^`]+)`", text), re.search(r"listed with its `column`: `([^`]+)`", text)
    assert rows is not None
    assert cells is not None
    schema = json.loads((ROOT / "serve" / "writing" / "errors.schema.json").read_text(encoding="utf-8"))
    assert {*rows[1].split(), *cells[1].split()} == {*schema["properties"]["reason"]["enum"]}


def test_the_suffixes_on_the_page_are_those_that_are_read_and_written() -> None:
    """The page names every suffix of an input, of a compression and of an output, and no other."""
    text = " ".join((ROOT / "serve" / "README.md").read_text(encoding="utf-8").split())
    found = re.search(r"\*\*What is read\.\*\* (.*?); out: (.*?)\. A folder", text)
    assert found is not None
    read, written = ({*re.findall(r"\.[a-z0-9]+", part)} for part in found.groups())
    names = {suffix for suffix, name in FORMATS.items() if name in INPUT_FORMATS} | {".json"}
    packed = {suffix for suffix, name in COMPRESSIONS.items() if name in COMPRESSION_NAMES}
    assert read == names | packed
    assert written == {*OUTPUT_SUFFIXES, ".gz", ".zst"} - {".ndjson"}


def test_no_code_is_downloaded() -> None:
    """Of a hub model no Python file, no pickle and no template is asked for, as the page of security says."""
    names = [
        "modeling_x.py",
        "pytorch_model.bin",
        "model.pt",
        "x.pkl",
        "x.h5",
        "chat_template.jinja",
        "chat_template.json",
    ]
    assert [name for name in names if any(fnmatch(name, pattern) for pattern in HUB_FILES)] == []
    assert any(fnmatch("model-00001-of-00002.safetensors", pattern) for pattern in HUB_FILES)


def test_a_recipe_needs_the_four_parts_of_the_readme_and_no_other() -> None:
    """The parts of the README's recipe load alone, and not without any one of them."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    parts = yaml.safe_load(text.partition("```yaml")[2].partition("```")[0])
    assert len(parts) == 4
    for left_out in (None, *parts):
        problems: list[str] = []
        schema.bind(Recipe, {name: part for name, part in parts.items() if name != left_out}, problems)
        assert [problem.partition(":")[0] for problem in problems] == ([left_out] if left_out else [])


def test_every_package_has_the_console_scripts_commands() -> None:
    """`python -m trainer`, `export` and `serve` have the commands that `classifact` has of them, and no others."""
    groups = {"trainer.cli": trainer.cli.main, "serve.cli": serve.cli.main}
    for module, group in groups.items():
        own = {name for name, (place, _) in COMMANDS.items() if place.startswith(f"{module}:")}
        assert own == {*group.commands}
    # `python -m export` exports, and has one word beside that.
    assert {name for name, (place, _) in COMMANDS.items() if place.startswith("export.")} == {"export", "inspect"}


def test_files_that_the_roads_name_exist() -> None:
    """The road of a row in the scorer's page, and the files on top in README's tree, are files that are there."""
    road = (
        (ROOT / "serve" / "README.md").read_text(encoding="utf-8").partition("## The road of a row")[2].split("```")[1]
    )
    there = {path.name for path in (ROOT / "serve").rglob("*.py")}
    assert {*re.findall(r"(\w+\.py)", road)} <= there
    assert [name for name in re.findall(r"(?m)^(\w+/\w+\.py)", road) if not (ROOT / "serve" / name).is_file()] == []
    tree = (ROOT / "README.md").read_text(encoding="utf-8").partition("## The tree")[2].split("```")[1]
    for package in ("trainer", "export", "serve"):
        line = next(line for line in tree.splitlines() if line.startswith(f"{package}/"))
        names = re.findall(r"\w+", line.rpartition(": ")[2])
        assert len(names) > 3
        assert [name for name in names if not (ROOT / package / f"{name}.py").is_file()] == []
