"""The last lines of `make demo`: what the run, the bundle and the scored file say of themselves."""

import json
import sys
from pathlib import Path


def main(run: Path, bundle: Path, scores: Path) -> None:
    """Print the test figures, the parity of each file, the speed, and where everything lies."""
    test = read(run / "test_metrics.json")
    report = read(Path(f"{scores}.report.json"))
    f1 = test["intervals"]["f1"]
    interval = f"95 % interval {f1['low']:.3f} to {f1['high']:.3f}"
    print(f"\nF1 of spam     {f1['value']:.3f} ({interval}) on {test['rows']} test rows")
    for precision, graph in read(bundle / "manifest.json")["graphs"].items():
        parity = graph["parity"]
        agreement = f"{parity['label_agreement']:.2%} of {parity['rows']} validation rows"
        print(f"{precision:<14} decides as torch on {agreement}, {graph['bytes'] / 1e6:.0f} MB")
    print(
        f"scored         {report['rows_scored']} rows in {report['precision']}, {report['rows_per_second']:.0f} rows/s"
    )
    print(f"\nrun            {run}\nbundle         {bundle}\nscores         {scores}\nreport         {run}/report.html")


def read(path: Path) -> dict:
    """A JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
