"""What a process of a launch does not hold: each of them holds all that it imports once more."""

import importlib
import sys

# transformers imports them where they are installed, for generating text and for finding objects in pictures.
_NOT_NEEDED = ("sklearn", "scipy")


def import_lean() -> None:
    """Import what all of transformers' models share as where scikit-learn and scipy are not installed. Call this before
    anything else imports transformers.

    Afterwards both can be imported as ever.
    """
    left_out = [name for name in _NOT_NEEDED if name not in sys.modules]
    # What Python itself takes for a module that is not there; the other way, a finder that refuses, ends transformers.
    sys.modules.update(dict.fromkeys(left_out))  # type: ignore[arg-type]
    try:
        for name in ("transformers.modeling_utils", "transformers.models.auto.modeling_auto"):
            importlib.import_module(name)
    finally:
        for name in left_out:
            del sys.modules[name]
