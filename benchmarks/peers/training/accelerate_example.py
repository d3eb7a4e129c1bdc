"""The loop of Accelerate's examples/nlp_example.py: padded to the longest row of a batch, rows in random order."""

from typing import Any

from benchmarks.peers.contestant import ON_GPU, Variant
from benchmarks.peers.device import device
from benchmarks.peers.learn import Classify, Labels, Texts, go_on
from benchmarks.peers.talk import Request
from benchmarks.peers.training.network import classify_with, network, tokenized

NEEDS = ()
VARIANTS = (
    Variant(name="Accelerate's example loop", precision="fp32"),
    Variant(name="Accelerate's example loop, bf16", precision="bf16", settings={"bf16": True}),
    Variant(name="Accelerate's example loop, bf16" + ON_GPU, precision="bf16", gpu=True, settings={"bf16": True}),
)


def load(settings: Request) -> tuple[Any, Classify]:
    """Its calls, in its order."""
    import torch
    from accelerate import Accelerator
    from torch.optim import AdamW
    from torch.utils.data import DataLoader
    from transformers import get_constant_schedule

    accelerator = Accelerator(cpu=device(settings) == "cpu", mixed_precision="bf16" if settings.get("bf16") else "no")
    tokenizer, plain = network(settings)
    optimizer = AdamW(params=plain.parameters(), lr=settings["rate"])
    model, optimizer, schedule = accelerator.prepare(plain, optimizer, get_constant_schedule(optimizer))

    def collate(rows: list[dict[str, Any]]) -> Any:
        multiple = 8 if accelerator.mixed_precision != "no" else None
        return tokenizer.pad(rows, padding="longest", pad_to_multiple_of=multiple, return_tensors="pt")

    def train(texts: Texts, labels: Labels) -> None:
        found = tokenized(tokenizer, texts, settings["max_tokens"], pad=False)
        targets = [[float(one) for one in label] for label in labels] if settings["multi"] else labels
        columns = {**found, "labels": targets}
        # A list is what the loader takes, though its annotation asks for a Dataset.
        rows: Any = [{name: values[row] for name, values in columns.items()} for row in range(len(texts))]
        loader = accelerator.prepare(DataLoader(rows, shuffle=True, collate_fn=collate, batch_size=settings["batch"]))
        model.train()
        for batch in loader:
            loss = model(**batch).loss
            accelerator.backward(loss)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()

    torch.manual_seed(0)
    return train, classify_with(plain, tokenizer, settings)


if __name__ == "__main__":
    go_on(load, ("accelerate", "transformers", "torch"))
