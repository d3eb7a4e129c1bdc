"""`python -m serve`."""

import sys
from pathlib import Path
from runpy import run_path

if __name__ == "__main__":
    # By its path: a file of the user's may stand in for any of our packages here.
    run_path(str(Path(__file__).resolve().parents[1] / "classifact" / "own_packages.py"))["require_own_packages"]()

    from serve.cli import main
    from serve.without_pandas import refuse_pandas

    refuse_pandas(sys.argv)
    main()
