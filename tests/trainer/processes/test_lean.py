"""What a process of a launch imports: it is held once a process."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_a_training_process_does_without_scikit_learn() -> None:
    """The process that `trainer/run.py` starts has neither scikit-learn nor scipy in memory, and may import both."""
    code = (
        "import sys; from trainer.processes.lean import import_lean; import_lean(); import trainer.stages\n"
        "print([name for name in ('sklearn', 'scipy') if name in sys.modules])\n"
        "from sklearn.tree import DecisionTreeClassifier; print(DecisionTreeClassifier.__name__)"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.splitlines() == ["[]", "DecisionTreeClassifier"]
