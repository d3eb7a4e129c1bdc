"""`python -m trainer`."""

from pathlib import Path
from runpy import run_path

if __name__ == "__main__":
    # By its path: a file of the user's may stand in for any of our packages here.
    run_path(str(Path(__file__).resolve().parents[1] / "classifact" / "own_packages.py"))["require_own_packages"]()

    from trainer.cli import main
    from trainer.processes.end import run_to_the_end

    # A search may be launched on several processes.
    run_to_the_end(main)
