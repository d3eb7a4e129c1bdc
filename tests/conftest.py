"""One thread a process, here and in what tests start: tiny models gain nothing from two, and sums then have one order.

A run in this process can so be compared, weight by weight, with one that was launched.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"

# After the line above: it reads the number of threads when it is imported.
import torch

torch.set_num_threads(1)
