"""What the pages say is there: each file and folder that a table names exists."""

import re
from pathlib import Path

import pytest
from click import Context

from classifact.cli import group
from export.cli import EXPORTER_NAMES, PASS_NAMES
from export.passes import PASSES, PREPARING
from export.pipeline import ExportJob
from export.trained_run import SAMPLE_ROWS
from export.unlabelled import MOST_UNLABELLED_ROWS

ROOT = Path(__file__).parents[1]
PAGES = (
    "README.md",
    "export/README.md",
    "serve/README.md",
    "launch_configs/README.md",
    "launch_configs/recipes/README.md",
    "benchmarks/README.md",
)


def absent(page: Path) -> list[str]:
    """Python files, pages and folders that a page's tables name and that lie neither beside it nor in the root."""
    rows = "\n".join(line for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("|"))
    code = " ".join(re.findall(r"`([^`]+)`", rows))
    named = re.findall(r"(?<![\w./-])((?:[\w-]+/)*[\w-]+\.(?:py|md|yaml)|(?:[\w-]+/)+)(?![\w./-])", code)
    return [name for name in named if not any((folder / name).exists() for folder in (page.parent, ROOT))]


@pytest.mark.parametrize("page", PAGES)
def test_files_that_tables_name_exist(page: str) -> None:
    """A file that moved takes its name in the pages' tables with it."""
    assert absent(ROOT / page) == []


def test_a_name_of_yesterday_is_found(tmp_path: Path) -> None:
    """Files and folders that are gone are told, those that are there are not."""
    page = tmp_path / "README.md"
    page.write_text(
        "`prose.py`\n\n| step | file |\n|---|---|\n| a | `gone.py`, `there.py`, `no/` |\n"
        "| b | `python benchmarks/rows.py N` |\n",
        encoding="utf-8",
    )
    (tmp_path / "there.py").touch()
    assert absent(page) == ["gone.py", "no/"]


def test_the_files_that_answer_questions_exist() -> None:
    """Each file that CONTRIBUTING's table of questions names is there, by its path from the root."""
    table = (
        (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## Where to look")[2].partition("\n## ")[0]
    )
    named = re.findall(r"`([\w/]+\.py)`", table)
    assert len(named) > 12
    assert [name for name in named if not (ROOT / name).is_file()] == []


def listed(page: str, heading: str) -> list[str]:
    """The first cells of the first table below a heading, without their backticks; the table's own head aside."""
    below = f"\n{(ROOT / page).read_text(encoding='utf-8')}".partition(f"\n{heading}\n")[2]
    rows = re.findall(r"(?m)(?:^\|.*\n)+", below)[0].splitlines()[2:]
    return [row.split("|")[1].strip().strip("`") for row in rows]


def test_pages_list_what_there_is() -> None:
    """Launch configs, recipes, exporters and passes: a page's table names each of them, and no other."""
    configs, recipes = ROOT / "launch_configs", ROOT / "launch_configs" / "recipes"
    assert sorted(listed("launch_configs/README.md", "# Where a run happens")) == sorted(
        path.name for path in configs.glob("*.yaml")
    )
    assert listed("launch_configs/recipes/README.md", "# Recipes of five systems") == sorted(
        path.name for path in recipes.glob("*.yaml")
    )
    assert listed("export/README.md", "## Three exporters") == list(EXPORTER_NAMES)
    assert listed("export/README.md", "## Passes") == list(PASS_NAMES) == list(PASSES)
    assert {*PASS_NAMES[: len(PREPARING)]} == PREPARING


def test_the_gates_of_the_page_are_those_of_the_export() -> None:
    """Each bound in the page's table is the one that a file is held to."""
    text = (ROOT / "export" / "README.md").read_text(encoding="utf-8")
    agreement, difference, _ = re.findall(r"(?m)^\| (?:label|largest|drop).*$", text.partition("\n## Gates\n")[2])[:3]
    bounds = ExportJob(run=Path(), out=Path(), precisions=("fp32", "int8", "fp16")).graph_job().bounds
    assert [float(one) for one in re.findall(r"0\.\d+", agreement)] == [
        bounds[precision].min_agreement for precision in ("fp32", "int8", "fp16")
    ]
    assert [float(one) for one in re.findall(r"(?<!\d)(?:1e-4|0\.05)", difference)] == [
        bounds[precision].max_difference for precision in ("fp32", "fp16")
    ]
    assert f"at most {MOST_UNLABELLED_ROWS:,}" in text
    assert f"up to {SAMPLE_ROWS:,} validation rows" in text


def unknown_words(page: str) -> list[str]:
    """Commands in a page's code that `classifact` has not, and options that its command has not."""
    wrong = []
    for line in re.findall(r"`classifact ([a-z][^`]+)`", page):
        name, *words = line.split()
        command = group.get_command(Context(group), name)
        if command is None:
            wrong.append(name)
            continue
        options = {one for parameter in command.params for one in parameter.opts}
        wrong += [word for word in words if word.startswith("--") and word not in options]
    return wrong


@pytest.mark.parametrize("page", ["launch_configs/recipes/README.md", "README.md"])
def test_commands_that_pages_show_exist(page: str) -> None:
    """Each command that stands in a page's text is one of the console script, with the options that it is given."""
    assert unknown_words((ROOT / page).read_text(encoding="utf-8")) == []


def test_a_command_of_yesterday_is_found() -> None:
    """A command and an option that are none are told, a right one is not."""
    page = "`classifact evaluate RUN --split test`, `classifact judge RUN`, `classifact score B x --output y`"
    assert unknown_words(page) == ["judge", "--output"]
