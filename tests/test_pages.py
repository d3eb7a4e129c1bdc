"""What the pages say is there: each file and folder that a table names exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "export/README.md", "serve/README.md")


def absent(page: Path) -> list[str]:
    """Python files, pages and folders that a page's tables name and that lie neither beside it nor in the root."""
    rows = "\n".join(line for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("|"))
    code = " ".join(re.findall(r"`([^`]+)`", rows))
    named = re.findall(r"(?<![\w./-])((?:[\w-]+/)*[\w-]+\.(?:py|md)|(?:[\w-]+/)+)(?![\w./-])", code)
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
