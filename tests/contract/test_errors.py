"""How a command ends: the code, the text, and nothing a person cannot read."""

import errno
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from trainer.contract.errors import (
    ArtifactError,
    BadRow,
    ClassifactError,
    GateError,
    InputError,
    RecipeError,
    nearest,
    os_error,
    show_errors,
)

ROOT = Path(__file__).parents[2]
_PROGRAM = """
import sys
from trainer.contract.errors import show_errors
@show_errors
def command():
    {body}
command()
"""


def raising(error: BaseException) -> Callable[[], None]:
    """A command that fails."""

    @show_errors
    def command() -> None:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (InputError("no column 'x'", where="a.csv", found="y", expected="x", do="rename it"), 1, "no column 'x'"),
        (RecipeError("two problems"), 1, "two problems"),
        (ArtifactError("manifest.json is missing"), 1, "manifest.json is missing"),
        (BadRow("null_text", "column 'text' is empty"), 1, "column 'text' is empty"),
        (GateError("agreement is too low", found=0.9), 3, "agreement is too low"),
        (OSError(errno.ENOSPC, "No space left on device", "out.csv"), 1, "the disk is full"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), 1, "the disk is full"),
        (PermissionError(errno.EACCES, "Permission denied", "out.csv"), 1, "Permission denied"),
        (OSError("odd"), 1, "odd"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_an_error_is_shown_without_a_traceback(
    error: BaseException, code: int, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ours and the system's errors go to standard error as text, with their exit code."""
    with pytest.raises(SystemExit) as caught:
        raising(error)()
    shown = capsys.readouterr()
    assert (caught.value.code, shown.out) == (code, "")
    assert text in shown.err
    assert "Traceback" not in shown.err


def test_a_mistake_of_ours_keeps_its_traceback() -> None:
    """Only errors that a person can act on are made short."""
    for error in (ZeroDivisionError(), ImportError("cannot import name 'x'", name="trainer.loop")):
        with pytest.raises(type(error)):
            raising(error)()


def test_a_command_that_succeeds_returns_its_result() -> None:
    """The decorator changes nothing where nothing fails."""
    assert show_errors(lambda: 7)() == 7


def test_an_error_says_the_five_things() -> None:
    """What, where, found, expected and what to do, a line each, and a found 0 is shown."""
    lines = str(InputError("what", where="w", found=0, expected="e", do="d")).splitlines()
    assert [line.split() for line in lines] == [
        ["what"],
        ["where:", "w"],
        ["found:", "0"],
        ["expected:", "e"],
        ["do:", "d"],
    ]
    assert str(InputError("what")) == "what"


def test_a_name_cannot_write_to_the_terminal() -> None:
    """Control characters in what strangers named are spelled; a place is one line, and lines that are meant stay."""
    text = str(InputError("one\ntwo\x1b[2J", where="x\n  do:       evil\x07", found="a\nb\u202e", do="mend it"))
    assert text.split("\n") == [
        "one",
        r"two\x1b[2J",
        r"  where:    x\n  do:       evil\x07",
        "  found:    a",
        r"b\u202e",
        "  do:       mend it",
    ]


def test_a_full_disk_says_what_is_safe() -> None:
    """The file is named, and that earlier work is untouched."""
    text = str(os_error(OSError(errno.ENOSPC, "No space left on device", "out.csv")))
    assert "out.csv" in text
    assert "free some space" in text
    assert "untouched" in text


@pytest.mark.parametrize(
    "error", [InputError("w", where="x", do="y"), BadRow("null_text", "empty"), GateError("g", found=1)]
)
def test_errors_cross_processes(error: ClassifactError) -> None:
    """A worker's error arrives in the parent with its text, reason and code."""
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))


@pytest.mark.parametrize(
    ("body", "lines"),
    [
        ("for number in range(100_000): print('row', number)", 1),
        ("print('one short line')", 0),
        ("print('x' * 100_000)", 0),
    ],
    ids=["many", "short", "long"],
)
def test_a_closed_pipe_ends_quietly(body: str, lines: int) -> None:
    """`| head` closes our output: exit code 1 and not a word, also where the output was still in the buffer."""
    # The shell's first command waits until the reader has gone, so that the short line meets a closed pipe.
    command = [
        sys.executable,
        "-c",
        _PROGRAM.format(body=f"import time; time.sleep(0.1 if not {lines} else 0)\n    {body}"),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for _ in range(lines):
            process.stdout.readline()
        process.stdout.close()
        shown = process.stderr.read()
    assert (process.returncode, shown) == (1, "")


def test_a_full_disk_under_standard_output_is_an_error() -> None:
    """Output that cannot be written is exit code 1 with its reason, not a success."""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", _PROGRAM.format(body="print('x')")],
            stdout=full,
            stderr=subprocess.PIPE,
            cwd=ROOT,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert "the disk is full" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


@pytest.mark.parametrize(
    ("closed", "body", "code"),
    [
        (">&-", "print('x')", 1),
        ("<&-", "sys.stdin.read()", 1),
        ("2>&-", "print('told', file=sys.stderr)", 0),
        # What is opened afterwards has none of their numbers.
        (">&- 2>&- <&-", "sys.exit(open(sys.argv[1], 'w').fileno() > 2)", 1),
    ],
)
def test_a_closed_stream_is_told(closed: str, body: str, code: int, tmp_path: Path) -> None:
    """Output that goes nowhere and input that cannot be are errors; nobody need listen to progress."""
    words = [sys.executable, "-c", _PROGRAM.format(body=f"import sys; {body}"), str(tmp_path / "file")]
    done = subprocess.run(["sh", "-c", f'"$@" {closed}', "sh", *words], capture_output=True, cwd=ROOT, check=False)
    told = b"error: standard input or standard output is closed" in done.stderr
    assert (done.returncode, told) == (code, code == 1 and "2" not in closed), done.stderr
    assert b"Traceback" not in done.stderr
    assert b"ignored" not in done.stderr


def test_what_was_found_is_shown_up_to_a_page() -> None:
    """A list of a million names says what it begins with, and leaves the way out in sight."""
    names = ", ".join(f"c{number}" for number in range(10**6))
    said = str(InputError("no column 'text'", where="x.csv", found=names, expected=names, do="rename one"))
    assert len(said) < 10_000
    assert "c0, c1" in said
    assert said.endswith("do:       rename one")


@pytest.mark.parametrize(
    ("name", "names", "expected"),
    [
        ("lable", ["text", "label"], "did you mean 'label'?"),
        ("SPAM", ["ham", "spam"], "did you mean 'spam'?"),
        ("label", ["Label", "LABELS"], "did you mean 'Label'?"),
        ("zebra", ["ham", "spam"], ""),
        ("x", [], ""),
        (3, ["3.0", "three"], ""),
        (None, ["none"], "did you mean 'none'?"),
    ],
)
def test_the_nearest_name(name: object, names: list[str], expected: str) -> None:
    """The closest name whatever its case, and none where none is close."""
    assert nearest(name, names) == expected
