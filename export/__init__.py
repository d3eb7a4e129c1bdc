"""Export: the best checkpoint of a run to a bundle, with proof that it is the same classifier."""

import os

# As in serve/: no session of ours is told of elsewhere.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
