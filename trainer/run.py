"""What `accelerate launch trainer/run.py` runs.

Launched by path, so Python puts this folder first on sys.path: `import trainer` would fail, and a file of ours could
stand in for a library of its name. So that entry goes, and our packages are found where this file lies. (The folder
above in its place would do the same from an installation's files to the standard library.)
"""

import sys
from pathlib import Path
from runpy import run_path

_HERE = Path(__file__).resolve().parent
# Not where Python was told to be safe (-P), and the entry is another.
if sys.path and Path(sys.path[0]).resolve() == _HERE:
    del sys.path[0]
run_path(str(_HERE.parent / "classifact" / "own_packages.py"))["use_own"]()

from trainer.cli import launched  # noqa: E402 -- only now can it be found
from trainer.processes.end import run_to_the_end  # noqa: E402

if __name__ == "__main__":
    run_to_the_end(launched)
