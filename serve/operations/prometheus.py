"""A job's figures for Prometheus, on a port of this machine."""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from serve.journal.state import JobState
from trainer.contract.errors import InputError


@dataclass(frozen=True, kw_only=True)
class MetricLine:
    """One line of what is told."""

    name: str
    help: str
    value: Callable[[JobState], int]


FIGURES = (
    MetricLine(name="rows_read_total", help="Rows read", value=lambda state: state.read),
    MetricLine(name="rows_scored_total", help="Rows scored", value=lambda state: state.scored),
    MetricLine(name="rows_rejected_total", help="Rows that could not be scored", value=lambda state: state.rejected),
    MetricLine(name="tokens_total", help="Tokens scored", value=lambda state: state.tokens),
    MetricLine(
        name="padded_tokens_total", help="Tokens computed, padding too", value=lambda state: state.padded_tokens
    ),
)


def text(state: JobState) -> str:
    """Prometheus' text format, version 0.0.4."""
    lines = []
    for figure in FIGURES:
        name = f"classifact_{figure.name}"
        lines += [f"# HELP {name} {figure.help}", f"# TYPE {name} counter", f"{name} {figure.value(state)}"]
    return "\n".join(lines) + "\n"


@contextmanager
def served(port: int | None, state: Callable[[], JobState], host: str = "127.0.0.1") -> Iterator[int | None]:
    """Answer on `port` while the block runs (0: any free one, which is told); yields the port. None: answer nothing.

    host: whose callers are answered; this machine's alone unless said otherwise.
    """
    if port is None:
        yield None
        return

    class Handler(BaseHTTPRequestHandler):
        """Answers every request with the figures."""

        def do_GET(self) -> None:
            """The figures, as Prometheus reads them."""
            content = text(state()).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  As above.
            """Say nothing of each request."""

    try:
        # A scraper that hangs must not hold up the next one, nor the job.
        server = ThreadingHTTPServer((host, port), Handler)
    except OSError as error:
        raise InputError("the metrics port cannot be opened", where=port, found=error.strerror) from None
    if port == 0:
        # Nobody could know it otherwise: told with --quiet too.
        print(f"metrics: http://{host}:{server.server_port}/metrics", file=sys.stderr, flush=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
