"""Progress whose lines a test reads."""

from trainer.contract.system.progress import Progress


class Told(Progress):
    """Keeps its lines."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__()
        self.lines = lines

    def say(self, line: str) -> None:
        """Keep it."""
        self.lines.append(line)
