"""infinity's engine inside the program, without its HTTP server: torch and optimum."""

import asyncio
from typing import Any

from benchmarks.peers.contestant import Variant
from benchmarks.peers.talk import Request, label

# It pins numpy below 2, and imports what newer releases of optimum and transformers no longer have.
NEEDS = (
    "infinity-emb[torch,optimum]==0.0.78",
    "optimum[onnxruntime]<2",
    "pandas<3",
    "pyarrow<22",
    "transformers<4.49",
)
VARIANTS = (
    Variant(name="infinity, torch", precision="fp32", settings={"engine": "torch"}),
    Variant(name="infinity, optimum", onnx_runtime=True, precision="fp32", settings={"engine": "optimum"}, light=False),
)


def load(settings: Request) -> Any:
    """One engine, kept running between rounds; it batches what it is given by length."""
    from infinity_emb import AsyncEmbeddingEngine, EngineArgs

    engine = AsyncEmbeddingEngine.from_args(
        EngineArgs(
            model_name_or_path=settings["checkpoint" if settings["engine"] == "torch" else "exported"],
            engine=settings["engine"],
            device="cpu",
            model_warmup=False,
            batch_size=32,
        )
    )
    loop = asyncio.new_event_loop()
    loop.run_until_complete(engine.astart())
    numbers = {name: number for number, name in enumerate(settings["labels"])}

    def run(texts: list[str]) -> list[int]:
        found, _ = loop.run_until_complete(engine.classify(sentences=texts))
        return [numbers[max(row, key=lambda each: each["score"])["label"]] for row in found]

    return run


if __name__ == "__main__":
    label(load, ("infinity-emb", "transformers", "torch"))
