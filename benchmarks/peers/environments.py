"""An environment for each list of packages that tools need beside ours, or in other versions; tools with the same list
share it.

It borrows ours: what it installs comes first, and what it does not is ours. So torch lies on the disk once, and a tool
that pins another transformers still gets it.
"""

import json
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

from benchmarks.peers.program import Fell


def python_of(needs: tuple[str, ...], folder: Path) -> Path:
    """The interpreter of the environment with these packages, made where it is not there yet; if none is needed, ours.

    folder: where environments lie. Raises Fell with pip's own words where it cannot be installed.
    """
    if not needs:
        return Path(sys.executable)
    # One folder for a package's versions: a newer one replaces the older.
    home = folder / "_".join(
        re.sub(r"[^a-z0-9]+", "-", re.split("[=<>]", each.lower())[0]).strip("-") for each in needs
    )
    python, done = home / "bin" / "python", home / "installed.json"
    if done.exists() and json.loads(done.read_text(encoding="utf-8")) == list(needs):
        return python
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True, capture_output=True)
        (packages,) = home.glob("lib/python*/site-packages")
        borrowed = [path for path in sys.path if path.endswith("site-packages")] or [sysconfig.get_path("purelib")]
        (packages / "borrowed.pth").write_text("".join(f"{path}\n" for path in borrowed), encoding="utf-8")
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-input", *needs]
    installed = subprocess.run(command, capture_output=True, text=True, check=False)
    if installed.returncode:
        raise Fell(f"not installable: {_reason(installed.stderr)}")
    done.write_text(json.dumps(list(needs), allow_nan=False), encoding="utf-8")
    return python


def _reason(stderr: str) -> str:
    errors = [line.removeprefix("ERROR: ") for line in stderr.splitlines() if line.startswith("ERROR")]
    return (errors or stderr.strip().splitlines() or ["pip gave no reason"])[-1][:300]
