"""How to make all this again, and which texts stand on the page."""

from trainer.report.blocks import Block, Cell, Commands, Paragraph, Section, Table
from trainer.report.gather import Evidence
from trainer.report.sections.files import leaves
from trainer.report.words import plural


def reproduce(evidence: Evidence) -> Section:
    """Commands and versions."""
    decide = ["classifact decide RUN"] if evidence.decisions is not None else []
    export = ["classifact export RUN --out BUNDLE"] if evidence.bundle is not None else []
    told = "classifact report RUN" + (" --bundle BUNDLE" if export else "")
    train = f"cp {evidence.typed('RUN')}/recipe.yaml again.yaml && " + evidence.typed(
        "classifact train again.yaml --out RUN", again=True
    )
    lines = [train, *(evidence.typed(line, again=True) for line in [*decide, "classifact evaluate RUN", *export, told])]
    blocks: list[Block] = [
        Paragraph(
            "The recipe in the run is resolved: it names every setting, the base model's hash and the seed. "
            "The same rows, versions and processor give the same weights. Folders are named without what lies above "
            "them: type the commands where they lie."
        ),
        Commands(lines=lines),
        *_versions(evidence),
        Paragraph(_texts(evidence)),
    ]
    return Section(key="reproduce", title="How to reproduce it", blocks=blocks)


def _versions(evidence: Evidence) -> list[Block]:
    launches = evidence.training.get("launches") or []
    rows: list[list[Cell]] = [
        [
            "trained from step " + f"{launch['step']:,}",
            f"{launch['precision']}, {launch['device']}, "
            f"{plural(launch['processes'], 'process', 'processes')}, "
            f"{plural(launch['processors'], 'processor')}",
        ]
        for launch in launches[-10:]
    ]
    if evidence.manifest is not None:
        rows += [[f"{name} at export", str(version)[:60]] for name, version in evidence.manifest["versions"].items()]
    return (
        [Table(caption="Where it ran, and with which versions", heads=["what", "is"], rows=rows, sort=False)]
        if rows
        else []
    )


def _texts(evidence: Evidence) -> str:
    own = (
        (
            "This page holds texts of rows (wrong rows, label suspects, examples): whoever gets it reads them. "
            "`classifact report --no-texts` makes one without."
        )
        if evidence.texts
        else "This page holds no text of a row."
    )
    return own if evidence.manifest is None else f"{own} {leaves(evidence.manifest)}"
