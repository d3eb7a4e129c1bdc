"""Values to JSON text that any reader takes: no bare NaN, no half surrogate pair."""

import json
import math

from trainer.contract.system.files import finite


def json_text(value: object) -> str:
    """A value as JSON. NaN and infinity, which JSON lacks, become null; half a surrogate pair is JSON's own escape."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, default=str)
    except ValueError:
        text = json.dumps(finite(value), ensure_ascii=False, allow_nan=False, default=str)
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace").decode()
    return text


def cell_text(value: object) -> str:
    """A value as the text of a CSV field: text as it is, null empty, all else as JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, float) and not math.isfinite(value):
        # Readers of tables know these words, which in JSON would be none.
        return {math.inf: "Infinity", -math.inf: "-Infinity"}.get(value, "NaN")
    return "" if value is None else json_text(value)
