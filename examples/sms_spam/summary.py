"""The last lines of `make demo`: what the run, the bundle and the scored file say of themselves."""

import json
import sys
from pathlib import Path


def main(run: Path, bundle: Path, scores: Path) -> None:
    """Print the test figures, the parity of each file, the speed, and where everything lies."""
    test = json.loads((run / "test_metrics.json").read_text(encoding="utf-8"))
    manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    report = json.loads(Path(f"{scores}.report.json").read_text(encoding="utf-8"))
    f1 = test["metrics"]["f1"]
    print(f"\nF1 of spam on {test['rows']} test rows   {f1['value']:.3f}   (95 % interval {f1['low']:.3f} to {f1['high']:.3f})")
    for precision, graph in manifest["graphs"].items():
        parity = graph["parity"]
        print(
            f"{precision} agrees with torch on     {parity['label_agreement']:.2%} of {parity['rows']} validation rows"
            f"   ({graph['bytes'] / 1e6:.0f} MB)"
        )
    print(f"scored with {report['precision']}            {report['rows_scored']} rows, {report['rows_per_second']:.0f} rows/s")
    print(f"\nrun      {run}\nbundle   {bundle}\nscores   {scores}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
