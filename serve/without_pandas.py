"""A process that scores does without pandas."""

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder


class WithoutPandas(MetaPathFinder):
    """pyarrow imports pandas, where it is installed, with its first array: 0.4 s and 60 MB for nothing."""

    def find_spec(self, name: str, *_: object) -> None:
        """Refuse it: a missing pandas is a state that pyarrow knows."""
        if name == "pandas":
            raise ModuleNotFoundError("serve works without pandas", name=name)


def refuse_pandas(words: Sequence[str]) -> None:
    """Keep pandas out of this process, unless the command line asks for Ray, whose data sets need it."""
    if not {"ray", "--engine=ray"} & set(words):
        sys.meta_path.insert(0, WithoutPandas())
