"""An ordinary container, as far as one machine can be one without an image: what the tests of a worker's life run in.

The root file system is read-only, /mnt/out is the only place to write, what a job reads is mounted beside it, there is
no HOME, and the user id has no name. Reading is allowed everywhere (CAP_DAC_READ_SEARCH), since the interpreter and the
checkout may lie in somebody's home.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

UID = "54321"
OUT = Path("/mnt/out")
_SCRIPT = """
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs /mnt
mkdir /mnt/out
mount --bind "$WRITABLE" /mnt/out
number=0
for path in $GIVEN; do
    if [ -d "$path" ]; then mkdir "/mnt/$number"; else touch "/mnt/$number"; fi
    mount --bind "$path" "/mnt/$number"
    number=$((number + 1))
done
while read -r _ _ _ _ point _; do
    [ "$point" = /mnt/out ] || mount -o remount,bind,ro "$point" 2>/dev/null || true
done < /proc/self/mountinfo
exec setpriv --reuid UID --regid UID --clear-groups --no-new-privs \\
    --inh-caps=-all,+dac_read_search --ambient-caps=-all,+dac_read_search --bounding-set=-all,+dac_read_search \\
    env -i PATH=/usr/bin:/bin LANG=C.UTF-8 TMPDIR=/mnt/out "$@"
"""


def allowed() -> bool:
    """Whether this machine lets us make one: root, with namespaces and setpriv."""
    if not (shutil.which("unshare") and shutil.which("setpriv") and os.getuid() == 0):
        return False
    return subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode == 0


def run(command: Sequence[str | Path], writable: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python with `command` in the checkout, inside. writable: what is /mnt/out there.

    A Path in the command, unless it lies in OUT, is mounted, and its word becomes where. No path may hold a space.
    """
    writable.chmod(0o777)
    given = [word for word in command if isinstance(word, Path) and not word.is_relative_to(OUT)]
    words = [f"/mnt/{given.index(word)}" if word in given else str(word) for word in command]
    settings = [f"{name}={value}" for name, value in environment.items()]
    return subprocess.run(
        ["unshare", "--mount", "sh", "-c", _SCRIPT.replace("UID", UID), "sh", *settings, sys.executable, *words],
        cwd=Path(__file__).parents[1],
        env={**os.environ, "WRITABLE": str(writable), "GIVEN": " ".join(map(str, given))},
        capture_output=True,
        text=True,
        check=False,
    )
