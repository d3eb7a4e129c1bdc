"""From a drafted recipe to a checked bundle: the commands that a user would type, one after the other."""

import shlex
import subprocess
import sys
from pathlib import Path


def go_on(recipe: Path, *, quiet: bool) -> int:
    """Lint, train, evaluate, export and check, in runs/NAME and bundles/NAME of the working directory.

    Returns the exit code of the first command that fails, which has said why, or 0. Each is printed before it runs, so
    that a person can go on from there.
    """
    run, bundle = Path("runs") / recipe.stem, Path("bundles") / recipe.stem
    hush = ["--quiet"] if quiet else []
    commands = [
        ["lint", str(recipe), *hush],
        ["train", str(recipe), "--out", str(run), "--resume", *hush],
        ["evaluate", str(run), *hush],
        ["export", str(run), "--out", str(bundle), *hush],
        ["check", str(bundle)],
    ]
    for words in commands:
        print(f"\n$ classifact {shlex.join(words)}", flush=True)
        # As commands of their own: export and scoring are no part of training, and each gives back its memory.
        # -P keeps the working directory's own modules out.
        code = subprocess.run([sys.executable, "-P", "-m", "classifact", *words], check=False).returncode
        if code:
            return code
    return 0
