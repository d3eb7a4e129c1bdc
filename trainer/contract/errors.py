"""Every error that Classifact raises on purpose, and how a command shows it.

ClassifactError          exit code 1
├── InputError           a file, column, label or setting that the user gave is wrong
│   ├── RecipeError      a recipe: every problem of it at once
│   └── UsageError       exit code 2: an option cannot be what was given
├── BadRow               one row cannot be read; the reader knows the file and the line
├── ArtifactError        a run, checkpoint or bundle is missing, damaged or of another schema
└── GateError            exit code 3: a measured figure is outside its bound
"""

import difflib
import errno
import hashlib
import io
import math
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

from trainer.contract.redact import redacted
from trainer.contract.system.machine import fit_thread_pools, unsupported
from trainer.contract.system.streams import hold_standard_streams
from trainer.contract.visible import cut, visible, visible_lines

# Our packages, and the extra that brings what the commands of each need.
_EXTRAS = {"trainer": "train", "export": "export", "serve": "serve", "classifact": "serve"}
# Characters of what was found, and of what was expected, that an error shows.
_SHOWN = 4000
P = ParamSpec("P")
R = TypeVar("R")


class ClassifactError(Exception):
    """An error with the five things a person needs: what, where, found, expected, and what to do."""

    exit_code = 1

    def __init__(
        self, what: str, *, where: object = "", found: object = "", expected: object = "", do: str = ""
    ) -> None:
        self.what = what
        details = {"where": str(where), "found": str(found), "expected": str(expected), "do": do}
        # An address may hold a password or a signature, and errors end in logs.
        self.details = {name: redacted(text) for name, text in details.items()}
        super().__init__(what)

    def __str__(self) -> str:
        # A name of a file, column or label is a stranger's, who may write to the terminal by it, or a line of his own.
        # The columns of a file or the labels of a model may be a million.
        shown = {**self.details, "where": visible(self.details["where"])}
        shown |= {name: cut(shown[name], _SHOWN) for name in ("found", "expected")}
        lines = [f"  {name + ':':<10}{value}" for name, value in shown.items() if value]
        return visible_lines("\n".join([self.what, *lines]))


class InputError(ClassifactError):
    """A file, column, label or setting that the user gave is wrong."""


class RecipeError(InputError):
    """A recipe is wrong; the text lists every problem found."""


class BadRow(ClassifactError):
    """One row cannot be read. `reason` is a fixed word (see `InputSpec.read`), `what` says it in full."""

    def __init__(self, reason: str, what: str) -> None:
        self.reason = reason
        super().__init__(what)
        # What pickle calls the class with: a row's error may come from another process.
        self.args = (reason, what)


class ArtifactError(ClassifactError):
    """A run, checkpoint or bundle is missing, damaged or of another schema."""


class UsageError(InputError):
    """An option of a command cannot be what was given, whatever the files hold."""

    exit_code = 2


class GateError(ClassifactError):
    """A measured figure (parity, agreement, metric loss) is outside its bound."""

    exit_code = 3


def nearest(name: object, names: Iterable[str]) -> str:
    """ "did you mean 'x'?" for the closest of `names`, whatever its case, or an empty string where none is close."""
    folded = {known.casefold(): known for known in names}
    close = difflib.get_close_matches(str(name).casefold(), folded, n=1, cutoff=0.6)
    return f"did you mean {folded[close[0]]!r}?" if close else ""


def show_errors(command: Callable[P, R]) -> Callable[P, R]:
    """Decorate a command: print our own errors, the disk's and a missing library's without a traceback, exit with their
    code.

    Every command passes here before it imports what it works with: a system that we do not run on is refused, so is an
    option that is NaN or infinite, and thread pools are told how many processors there are.
    """

    @wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        """The command, its errors shown."""
        hold_standard_streams()
        try:
            _require_system()
            _require_finite(kwargs)
            fit_thread_pools()
            if isinstance(sys.stdout, io.TextIOWrapper):
                # A file's name or a label that this terminal has no letters for is spelled, and ends nothing.
                sys.stdout.reconfigure(errors="backslashreplace")
            result = command(*args, **kwargs)
            # Report a closed pipe or a full disk under standard output here, before the interpreter exits.
            sys.stdout.flush()
        except ClassifactError as error:
            _tell(error)
            sys.exit(error.exit_code)
        except BrokenPipeError:
            # The reader of our output has closed it (`| head`), so there is nothing to report.
            _drop_output()
            sys.exit(1)
        except OSError as error:
            _tell(os_error(error))
            if error.errno == errno.EBADF:
                _drop_output()
            sys.exit(1)
        except ImportError as error:
            package = command.__module__.partition(".")[0]
            if (error.name or "").partition(".")[0] in _EXTRAS:
                # A module of ours: no library is at fault.
                raise
            _tell(_library_error(error, _EXTRAS.get(package, package)))
            sys.exit(1)
        except KeyboardInterrupt as error:
            # Whoever was interrupted notes what is kept, and how to go on.
            print("\n".join(["interrupted", *getattr(error, "__notes__", [])]), file=sys.stderr)
            sys.exit(130)
        return result

    return wrapped


def _tell(error: ClassifactError) -> None:
    """Print an error; of the processes of a launch, each of which meets a wrong recipe, the first one that does so."""
    text = f"error: {error}"
    if note := _launch_note(hashlib.sha256(text.encode(errors="replace")).hexdigest()):
        try:
            with note.open("x", encoding="ascii") as file:
                file.write(str(error.exit_code))
        except FileExistsError:
            return
        except OSError:
            # Better twice than not at all.
            pass
    print(text, file=sys.stderr)


def told_in_launch() -> int | None:
    """The exit code of the first error that a process of this launch has told; None if there is none."""
    notes = _launch_note("*")
    told = sorted(notes.parent.glob(notes.name), key=lambda note: note.stat().st_mtime_ns) if notes else []
    if not told:
        return None
    code = told[0].read_text(encoding="ascii")
    return int(code) if code.isdecimal() else 1


def _launch_note(heard: str) -> Path | None:
    """Where the processes of a launch note what one of them has told; None where nothing was launched."""
    own = os.environ.get("TORCHELASTIC_ERROR_FILE")
    # The launcher of several processes names each a file in a folder of its own, within one of the launch.
    # By the launcher as well: what a process starts itself has another parent, and speaks for itself.
    return Path(own).parents[1] / f"told-{os.getppid()}-{heard}" if own else None


def _drop_output() -> None:
    """What is still buffered must not be written at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _library_error(error: ImportError, extra: str) -> ClassifactError:
    """A library that is not installed, or that does not fit another one, in our form."""
    return ClassifactError(
        "a library that this command needs cannot be used",
        found=" ".join(str(error).split())[:300],
        do=f"pip install 'classifact[{extra}]' -c constraints.txt; if that changes nothing, `classifact doctor`",
    )


def _require_system() -> None:
    if reason := unsupported():
        raise ClassifactError(
            "Classifact's commands run on Linux and macOS, not on Windows itself",
            found=reason,
            do="use Linux in WSL 2 or in a container; in Python, `from serve import Scorer` may do (not tested there)",
        )


def _require_finite(options: Mapping[str, object]) -> None:
    # NaN lies in every range of click, and a gate of NaN lets everything pass.
    for name, value in options.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise UsageError(f"--{name.replace('_', '-')} is no number", found=value, expected="a finite number")


def os_error(error: OSError) -> ClassifactError:
    """The operating system's refusal in our form; a full disk says what is safe."""
    where = error.filename if error.filename is not None else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ClassifactError(
            "the disk is full",
            where=where,
            found=str(error),
            do="free some space and run the same command again; what was finished before is untouched",
        )
    if error.errno == errno.EBADF and not where:
        return ClassifactError(
            "standard input or standard output is closed", do="give it a file or a pipe, or /dev/null"
        )
    return ClassifactError(error.strerror or str(error), where=where, do="check the path and its permissions")
