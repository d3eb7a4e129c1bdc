"""What the loop's own dropout gains on a CPU: seconds of a forward and backward pass with torch's and with ours.

    python benchmarks/dropout.py [--precision bf16] [--rounds 7]

Random weights in the shapes of MiniLM (32 rows of 56 tokens) and BERT-base (4 rows of 512), both sides in turn.
"""

import argparse
import sys
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
from transformers import AutoModelForSequenceClassification, BertConfig

from trainer.network.cpu_dropout import quick_dropout

SHAPES = {
    "MiniLM, 32 x 56": (BertConfig(hidden_size=384, num_hidden_layers=6, intermediate_size=1536), 32, 56),
    "BERT-base, 4 x 512": (BertConfig(), 4, 512),
}


def main() -> None:
    """Print the ratio of each shape, of each side's best round: other programs can only add to a round's seconds."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--precision", choices=["no", "bf16"], default="bf16")
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    for name, (config, rows, tokens) in SHAPES.items():
        torch.manual_seed(0)
        network = AutoModelForSequenceClassification.from_config(config).train()
        batch = {
            "input_ids": torch.randint(config.vocab_size, (rows, tokens)),
            "attention_mask": (torch.arange(tokens) < torch.linspace(tokens // 2, tokens, rows)[:, None]).long(),
            "labels": torch.zeros(rows, dtype=torch.long),
        }
        sides: dict[str, list[float]] = {"torch": [], "ours": []}
        for _ in range(given.rounds):
            for side, seconds in sides.items():
                dropout: AbstractContextManager[None] = nullcontext()
                if side == "ours":
                    dropout = quick_dropout(torch.device("cpu"))
                started = time.perf_counter()
                with dropout:
                    with torch.autocast("cpu", torch.bfloat16, enabled=given.precision == "bf16"):
                        loss = network(**batch).loss
                    loss.backward()
                seconds.append(time.perf_counter() - started)
                network.zero_grad(set_to_none=True)
        best = {side: min(seconds) for side, seconds in sides.items()}
        print(
            f"{name}: {best['torch'] * 1000:.0f} ms with torch's dropout, {best['ours'] * 1000:.0f} ms with ours: "
            f"{best['torch'] / best['ours']:.2f} times as fast"
        )


if __name__ == "__main__":
    main()
