"""Model folders and checkpoints are opened here, as data: no code of theirs runs, nothing outside them is touched."""
