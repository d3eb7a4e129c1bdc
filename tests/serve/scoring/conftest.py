"""Sessions that fail when a test says so."""

from typing import Any

import numpy as np
import pytest

from serve.scoring import session as session_module


class _Failing:
    """ONNX Runtime's session, which fails on some batches. fails: the last of them is asked before each run."""

    def __init__(self, inner: Any, fails: list[Any]) -> None:
        self._inner = inner
        self._fails = fails

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def run(self, names: list[str], feed: dict[str, np.ndarray]) -> Any:
        """Raise what `fails` gives, else run."""
        error = self._fails[-1](feed["input_ids"])
        if error is not None:
            raise error
        return self._inner.run(names, feed)


@pytest.fixture
def fails(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """A list; its last function is asked for the error of each run."""
    functions: list[Any] = [lambda _: None]
    create = session_module._create
    monkeypatch.setattr(session_module, "_create", lambda *given: _Failing(create(*given), functions))
    return functions
