"""`make lock`: constraints.txt with the hashes of the files that pip would install, as requirements.lock.

pip itself looks the files up (`--dry-run --report`), for each Python that we promise, on Linux with x86-64. torch stays
out: its builds for a processor and for CUDA have one name and one version, the registry's is the one for CUDA, and a
lock that held it would bring gigabytes to a machine without a GPU.
"""

import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements.lock"
APART = {"torch"}
PYTHONS = ("3.11", "3.12", "3.13")
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64", "manylinux_2_5_x86_64")
HEAD = """\
# Made from constraints.txt by `make lock`: do not edit. Linux, x86-64, Python {pythons}.
# Torch first, in the build for your machine, and then: pip install --require-hashes --no-deps -r requirements.lock
# It is not among these: the builds for a processor and for CUDA share one version, and pip would take the one for CUDA.
"""


def pinned() -> list[str]:
    """`name==version` of every line of constraints.txt that is to be locked."""
    lines = (line.split("#")[0].strip() for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line and line.split("==")[0] not in APART]


def hashes(python: str, pins: list[str]) -> dict[str, str]:
    """`name==version` to the hash of the file that pip takes for this Python."""
    with TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        where = [word for platform in PLATFORMS for word in ("--platform", platform)]
        command = [sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "--ignore-installed", "--no-deps"]
        command += ["--only-binary=:all:", "--python-version", python, *where, "--target", folder]
        subprocess.run([*command, "--report", str(report), *pins], check=True)
        found = json.loads(report.read_text(encoding="utf-8"))["install"]
    names = {pin.split("==")[0].lower().replace("_", "-"): pin for pin in pins}
    return {
        names[item["metadata"]["name"].lower().replace("_", "-")]: item["download_info"]["archive_info"]["hashes"][
            "sha256"
        ]
        for item in found
    }


def locked() -> dict[str, set[str]]:
    """The pins that are locked already, whose files do not change; none where the lock is of other Pythons."""
    text = LOCK.read_text(encoding="utf-8") if LOCK.is_file() else ""
    if not text.startswith(HEAD.format(pythons=", ".join(PYTHONS))):
        return {}
    lines = [line.split() for line in text.replace("\\\n", "").splitlines() if not line.startswith("#")]
    return {line[0]: {one.removeprefix("--hash=sha256:") for one in line[1:]} for line in lines}


def main() -> None:
    """Write requirements.lock; pins that it has keep their hashes, and only others are looked up."""
    pins, of = pinned(), defaultdict(set, locked())
    new = [pin for pin in pins if pin not in of]
    for python in PYTHONS if new else ():
        for pin, found in hashes(python, new).items():
            of[pin].add(found)
    lines = [" \\\n    ".join([pin, *(f"--hash=sha256:{one}" for one in sorted(of[pin]))]) for pin in pins]
    text = HEAD.format(pythons=", ".join(PYTHONS)) + "\n".join(lines) + "\n"
    LOCK.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
