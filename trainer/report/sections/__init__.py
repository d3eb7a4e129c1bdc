"""What the page says, a file a section. Each makes blocks from the evidence; what is missing gets its command."""

from collections.abc import Callable

from trainer.report.blocks import Section
from trainer.report.gather import Evidence
from trainer.report.sections.confusion import confused
from trainer.report.sections.curves import calibration, ranking
from trainer.report.sections.decided import decided
from trainer.report.sections.drift import drift
from trainer.report.sections.figures import measured
from trainer.report.sections.files import precisions
from trainer.report.sections.learning import learning
from trainer.report.sections.origin import origin
from trainer.report.sections.parts import robustness, slices
from trainer.report.sections.reproduce import reproduce
from trainer.report.sections.review import explained, mismatches, suspects
from trainer.report.sections.summary import summary

# In the order in which a reader asks: may I use it, what is it made of, how good is it, where does it fail, what runs.
SECTIONS: tuple[Callable[[Evidence], Section], ...] = (
    summary,
    origin,
    measured,
    confused,
    learning,
    ranking,
    calibration,
    decided,
    slices,
    robustness,
    mismatches,
    suspects,
    explained,
    precisions,
    drift,
    reproduce,
)
