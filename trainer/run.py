"""What `accelerate launch trainer/run.py` runs.

Launched by path, so Python puts this folder first on sys.path: `import trainer` would fail, and a file of ours could
stand in for a library of its name. The checkout's root takes that place.
"""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parent.parent)

from trainer.cli import launched  # noqa: E402 -- only now can it be found

if __name__ == "__main__":
    launched()
