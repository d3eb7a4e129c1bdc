"""A copy of the installed ONNX Runtime that takes this processor for one without AVX-512: its kernels are AVX2's then.

    python benchmarks/without_avx512.py FOLDER
    PYTHONPATH=FOLDER python -m serve check BUNDLE --precision int8

ONNX Runtime has no setting for it. Its library asks the processor which registers the system saves (xgetbv), and in the
copy the bits of AVX-512 are masked in each answer. Linux on x86-64; made for ONNX Runtime 1.31, another version may
ask in other instructions and is refused.
"""

import argparse
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

# xgetbv; mov eax, eax; shl rdx, 32. The move does nothing: xgetbv has cleared the upper halves.
_ASKED = bytes.fromhex("0f01d0 89c0 48c1e220")
# xgetbv; and al, 0x1f; shl rdx, 32. Bits 5 to 7 are AVX-512's registers.
_MASKED = bytes.fromhex("0f01d0 241f 48c1e220")
# A file of the copy, by which the harness knows it.
MARK = "without_avx512"


def masked_copy(folder: Path) -> Path:
    """Copy the package `onnxruntime` into `folder`, masked; gives the copy. Raises LookupError where it never asks."""
    found = find_spec("onnxruntime")
    if found is None or found.origin is None:
        raise LookupError("onnxruntime is not installed")
    copy = folder / "onnxruntime"
    shutil.copytree(Path(found.origin).parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
    libraries = [file for file in copy.rglob("*.so*") if _ASKED in file.read_bytes()]
    if not libraries:
        shutil.rmtree(copy)
        raise LookupError("no library of this ONNX Runtime asks for AVX-512 in these instructions")
    (copy / MARK).touch()
    for file in libraries:
        file.write_bytes(file.read_bytes().replace(_ASKED, _MASKED))
    return copy


def main() -> None:
    """Make the copy, or say why not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    try:
        print(masked_copy(parser.parse_args().folder))
    except (LookupError, OSError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
