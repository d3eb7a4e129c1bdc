"""The run directory: checkpoints, the state that `--resume` goes on from, and what a run says of itself."""
