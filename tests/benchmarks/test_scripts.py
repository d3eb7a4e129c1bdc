"""The scripts of benchmarks/: each starts, and the page tells how it is called."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
# All in one program, which imports torch once: each is asked for its help as if it had been called by path.
ASK = """
import contextlib, io, json, runpy, sys
wrong = {}
for path in sys.argv[1:]:
    sys.argv, told = [path, "-h"], io.StringIO()
    with contextlib.redirect_stdout(told):
        try:
            runpy.run_path(path, run_name="__main__")
            wrong[path] = "did not end with its help"
        except SystemExit as ended:
            if ended.code or "usage: " not in told.getvalue():
                wrong[path] = f"ended with {ended.code}"
        except BaseException as error:
            wrong[path] = repr(error)
print(json.dumps(wrong))
"""


def not_starting(scripts: list[Path]) -> dict[str, str]:
    """Which of them do not answer `-h`, and why."""
    command = [sys.executable, "-c", ASK, *map(str, scripts)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    found: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_every_script_starts_and_has_its_command_on_the_page(tmp_path: Path) -> None:
    """`-h` ends well in each of them, and a script that has lost an import is found."""
    scripts = sorted((ROOT / "benchmarks").glob("*.py"))
    assert len(scripts) > 10
    broken = tmp_path / "broken.py"
    broken.write_text("import trainer.no_such_file\n")
    assert list(not_starting([*scripts, broken])) == [str(broken)]
    page = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    assert [path.name for path in scripts if f"| `python benchmarks/{path.name}" not in page] == []


def test_the_harness_starts_where_only_the_product_is_installed() -> None:
    """`make bench` installs no package of the tests, and what it borrows of them, tiny bundles, needs none."""
    absent = ("hypothesis", "jsonschema", "polars", "pytest")
    code = f"import sys; sys.modules.update(dict.fromkeys({absent}))\n"
    code += "import benchmarks.peers.__main__\nfrom tests.serve import making\nprint('all there')"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout == "all there\n", done.stderr
