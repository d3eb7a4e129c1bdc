"""The commands of `make bench`; see benchmarks/README.md.

    python -m benchmarks.peers scoring [--data FOLDER | --run RUN --bundle BUNDLE [--rows FILE]] [--gpu] [--quick]
    python -m benchmarks.peers growth [--rounds N] [--quick]
    python -m benchmarks.peers quality [--set NAME] [--rows 1000] [--quick]
    python -m benchmarks.peers training [--set NAME] [--rows 640] [--precision fp32] [--gpu]
    python -m benchmarks.peers tables [--picture benchmarks/quality.svg]

Each of the others writes benchmarks/results/NAME.json and prints it as Markdown; the last prints all that lies there.
"""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT)] if str(ROOT) not in sys.path else []

from benchmarks.peers import cost, growth, machine, picture, score, tables, train
from benchmarks.peers.rounds import FOLDER
from trainer.contract.errors import ClassifactError
from trainer.contract.system.files import read_json


def main() -> None:
    """Parse, and call one room."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=FOLDER, help="for results, environments and logs")
    commands = parser.add_subparsers(dest="command", required=True)
    score.add_options(commands.add_parser("scoring", help="rows per second of each contestant"))
    growth.add_options(commands.add_parser("growth", help="time and memory against rows, length, labels, columns"))
    cost.add_options(commands.add_parser("quality", help="what a thousand rows give, and what they cost"))
    train.add_options(commands.add_parser("training", help="rows per second of each loop, and what is learnt in them"))
    printed = commands.add_parser("tables", help="what lies in --out, as Markdown")
    printed.add_argument("--picture", type=Path, help="quality against rows per second, as SVG")
    given = parser.parse_args()
    if getattr(given, "gpu", False) and not machine.gpu_name():
        print(f"{given.command} on a GPU: not run, there is no CUDA device here")
        return
    given.out.mkdir(parents=True, exist_ok=True)
    rooms = {"scoring": score.run, "growth": growth.run, "quality": cost.run, "training": train.run}
    try:
        if given.command in rooms:
            rooms[given.command](given)
    except ClassifactError as error:
        parser.exit(error.exit_code, f"error: {error}\n")
    print(tables.markdown(given.out, tables.NAMES if given.command == "tables" else (given.command,)))
    if given.command == "tables" and given.picture:
        found = read_json(given.out / "quality.json")
        given.picture.write_text(picture.svg(found), encoding="utf-8")
        print(f"\n![{picture.told(found)}]({given.picture.name})")


if __name__ == "__main__":
    main()
