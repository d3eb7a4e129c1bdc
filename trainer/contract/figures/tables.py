"""Figures in aligned columns, for a person."""

import re
from collections.abc import Sequence

# Signs, digits and units, as in "+0.0041", "12.3 MB", "1,024 (33.1 %)", or a dash where there is none.
_NUMBER = re.compile(r"[-+±]? ?(\d.*)?")


def table(lines: Sequence[Sequence[str]], indent: str = "") -> str:
    """Columns as wide as their longest cell, the first line their heads: columns of numbers end flush, others begin so.

    All lines have as many cells. A table of heads alone is empty.
    """
    if len(lines) < 2:
        return ""
    columns = list(zip(*lines, strict=True))
    numbers = [place > 0 and all(map(_NUMBER.fullmatch, cells[1:])) for place, cells in enumerate(columns)]
    widths = [max(map(len, cells)) for cells in columns]
    shown = (
        "  ".join(
            cell.rjust(width) if number else cell.ljust(width)
            for cell, width, number in zip(line, widths, numbers, strict=True)
        )
        for line in lines
    )
    return "\n".join(f"{indent}{line}".rstrip() for line in shown)
