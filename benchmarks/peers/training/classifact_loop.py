"""Classifact's training loop: its own steps on its own batches, as `trainer/stages.py` puts them together.

The whole command, with start, evaluation and checkpoints, is what the table of quality times; one process against two
is benchmarks/processes.py.
"""

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from benchmarks.peers.contestant import ON_GPU, Variant
from benchmarks.peers.device import device
from benchmarks.peers.learn import Classify, Labels, Texts, go_on
from benchmarks.peers.talk import Request

if TYPE_CHECKING:
    from trainer.contract.labels import LabelSpace
    from trainer.loop import Fit
    from trainer.predict import EncodedRows, Predictor
    from trainer.training import Run

NEEDS = ()
VARIANTS = (
    Variant(name="Classifact", precision="fp32", quick=True),
    Variant(name="Classifact, bf16", precision="bf16", settings={"bf16": True}, quick=True),
    Variant(name="Classifact, bf16" + ON_GPU, precision="bf16", gpu=True, settings={"bf16": True}),
)
RECIPE = Path(__file__).resolve().parents[3] / "examples" / "sms_spam" / "recipe.yaml"


def load(settings: Request) -> tuple[Any, Classify]:
    """What trains on, and what labels."""
    learner = Learner(*_opened(settings), settings=settings)
    return learner.train, learner.classify


def _opened(settings: Request) -> "tuple[Run, Predictor]":
    """A run that writes nothing, and its network."""
    from accelerate import Accelerator
    from tokenizers import Tokenizer

    from trainer.contract.encoding import EncodingPolicy, TextEncoder
    from trainer.network.load import load_classifier
    from trainer.predict import Predictor
    from trainer.recipes.file import load as load_recipe
    from trainer.run_folder.keeper import StopRequest
    from trainer.training import Run

    recipe = load_recipe(RECIPE, (f"stages.0.batch.rows={settings['batch']}",))
    accelerator = Accelerator(cpu=device(settings) == "cpu", mixed_precision="bf16" if settings.get("bf16") else "no")
    classifier = load_classifier(recipe.model, _space(settings), 0)
    words = Tokenizer.from_str(classifier.tokenizer.backend_tokenizer.to_str())
    encoder = TextEncoder(words, EncodingPolicy(max_tokens=settings["max_tokens"]))
    nothing = cast(Any, None)
    run = Run(
        recipe=recipe,
        accelerator=accelerator,
        classifier=classifier,
        encoder=encoder,
        keeper=nothing,
        track=nothing,
        stop=StopRequest(),
        cache=Path(tempfile.gettempdir()),
    )
    predictor = Predictor(
        network=classifier.network,
        inputs=classifier.inputs,
        encoder=encoder,
        accelerator=accelerator,
        tokens=recipe.stages[0].batch.tokens,
    )
    return run, predictor


def _space(settings: Request) -> "LabelSpace":
    from trainer.contract.labels import LabelSpace

    return LabelSpace(names=tuple(settings["labels"]), kind="multi" if settings["multi"] else "single")


@dataclass
class Learner:
    """A stage that is fitted a round at a time."""

    run: "Run"
    predictor: "Predictor"
    settings: Request
    steps: int = 0
    job: "Fit | None" = None
    """Of the first round; later rounds have other rows."""

    def train(self, texts: Texts, labels: Labels) -> None:
        """One epoch over these rows."""
        from trainer.batches import plan_epoch
        from trainer.loop import step
        from trainer.run_folder.keeper import Position

        data = self._encoded(texts, labels)
        self.job = self._begun(data) if self.job is None else replace(self.job, train=data)
        for batch in plan_epoch(data.encoded.lengths, self.job.stage.batch.rows, (0, 0, self.steps)):
            step(self.job, batch, Position(step=self.steps))
            self.steps += 1

    def classify(self, texts: Texts) -> Any:
        """Their labels, in the precision that is trained in, as an evaluation has it."""
        space = _space(self.settings)
        nothing: Labels = [[0] * len(space) if space.kind == "multi" else 0] * len(texts)
        return space.decode(self.predictor.logits(self._encoded(texts, nothing))).decisions

    def _begun(self, data: "EncodedRows") -> "Fit":
        """As `trainer/stages.py` begins a stage."""
        from trainer.loop import Fit
        from trainer.losses import Loss
        from trainer.network.first_token import read_first
        from trainer.network.layers import last_layer
        from trainer.network.load import start_biases
        from trainer.network.shape import shape
        from trainer.optim import build_optimizer, set_learning_rate
        from trainer.processes.trained import Trained

        stage, network = self.run.recipe.stages[0], self.run.classifier.network
        loss = Loss(stage.loss, _space(self.settings), data.rows.labels)
        start_biases(self.run.classifier, loss.constant(), None)
        shape(network, stage, (0, 0))
        read_first(network, last_layer(network), self.predictor.probes(data))
        trained = Trained(self.run.accelerator, network, build_optimizer(network, stage.optimizer))
        set_learning_rate(trained.optimizer, self.settings["rate"])
        self.predictor = replace(self.predictor, network=trained.network)
        return Fit(
            run=self.run,
            stage=stage,
            trained=trained,
            frozen=[],
            loss=loss,
            train=data,
            validation=data,
            predictor=self.predictor,
        )

    def _encoded(self, texts: Texts, labels: Labels) -> "EncodedRows":
        import numpy as np

        from trainer.contract.labelled import LabelledRows
        from trainer.predict import EncodedRows

        kind = np.bool_ if self.settings["multi"] else np.int64
        rows = LabelledRows(
            ids=np.arange(len(texts)), texts=texts, pairs=None, labels=np.array(labels, dtype=kind), places=texts
        )
        return EncodedRows.of(rows, self.predictor.encoder)


if __name__ == "__main__":
    go_on(load, ("torch", "transformers", "accelerate"))
