"""`python -m serve`."""

import sys
from importlib.abc import MetaPathFinder

from serve.cli import main


class WithoutPandas(MetaPathFinder):
    """pyarrow imports pandas, where it is installed, with its first array: 0.4 s and 60 MB for nothing."""

    def find_spec(self, name: str, *_: object) -> None:
        """Refuse it: a missing pandas is a state that pyarrow knows."""
        if name == "pandas":
            raise ModuleNotFoundError("serve works without pandas", name=name)


if __name__ == "__main__":
    # Ray Data does need it.
    if not {"ray", "--engine=ray"} & set(sys.argv):
        sys.meta_path.insert(0, WithoutPandas())
    main()
