"""Where a contestant computes."""

from benchmarks.peers.talk import Request


def device(settings: Request) -> str:
    """Either "cpu" or "cuda", as the harness asks. Raises RuntimeError where a GPU is asked for and there is none."""
    asked: str = settings["device"]
    if asked == "cuda":
        # Not before: who needs no torch is not to be measured with it in memory.
        import torch

        if not torch.cuda.is_available():
            raise RuntimeError("not run: there is no CUDA device here")
    return asked
