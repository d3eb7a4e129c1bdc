"""What a job says: no secrets, where its figures are, how to go on after Ctrl-C, what it does while no row comes."""

import functools
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from serve.cli import main
from serve.journal.state import JobState
from serve.operations.prometheus import served
from serve.scoring.window_scorer import WindowScorer
from tests.serve import bundles
from tests.serve.helpers import score, write_csv
from trainer.contract.errors import InputError
from trainer.contract.redact import redacted


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("https://user:secret@host/a.csv", "https://***@host/a.csv"),
        ("https://token@host/a.csv", "https://***@host/a.csv"),
        ("https://host/a.csv?sig=abc&se=1", "https://host/a.csv?***"),
        ("cannot open 'https://host/a?sig=x' now", "cannot open 'https://host/a?***' now"),
        ("abfs://container@account.dfs/a.csv", "abfs://container@account.dfs/a.csv"),
        ("s3://bucket/part-?.csv", "s3://bucket/part-?.csv"),
        ("zip://a.csv::https://u:p@h/x.zip", "zip://a.csv::https://***@h/x.zip"),
        ("/data/a?b=c.csv", "/data/a?b=c.csv"),
    ],
)
def test_redacted(given: str, shown: str) -> None:
    """Passwords, tokens and signatures are hidden, and nothing else is."""
    assert redacted(given) == shown


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    """A web server on the loopback device over a folder."""
    (tmp_path / "web").mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  The library's name.
            """Say nothing."""

    handler = functools.partial(Quiet, directory=str(tmp_path / "web"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_secrets_of_an_address_are_nowhere(single: Path, tmp_path: Path, web: str) -> None:
    """The signature of an input's address stands in no report, side file, journal or message."""
    pytest.importorskip("aiohttp")
    write_csv(tmp_path / "web" / "in.csv", [*bundles.texts(40), ""])
    url: Any = f"{web}/in.csv?sig=SECRET"
    out = tmp_path / "out.csv"
    options: dict[str, Any] = {"format": "csv", "window": 16}
    report = score(single, url, out=out, **options)
    assert report["rows_rejected"] == 1
    with pytest.raises(InputError) as error:
        score(single, f"{web}/none.csv?sig=SECRET", out=tmp_path / "o.csv", **options)  # type: ignore[arg-type]
    assert "none.csv" in str(error.value)
    assert "SECRET" not in str(error.value) + json.dumps(report)
    for path in tmp_path.rglob("out.csv*"):
        assert b"SECRET" not in path.read_bytes(), path


def test_metrics_stay_on_this_machine(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The port is bound on the loopback device unless told otherwise, and a free one is told."""
    hosts: list[str] = []
    real = http.server.ThreadingHTTPServer

    def bound(address: tuple[str, int], handler: Any) -> Any:
        hosts.append(address[0])
        return real(address, handler)

    monkeypatch.setattr("serve.operations.prometheus.ThreadingHTTPServer", bound)
    with served(0, JobState) as port:
        assert f"http://127.0.0.1:{port}/metrics" in capsys.readouterr().err
    assert hosts == ["127.0.0.1"]


def test_interrupt_says_how_to_go_on(single: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in mid-job exits with 130 and mentions --resume; resuming says what is read again."""
    rows = write_csv(tmp_path / "in.csv", bundles.texts(200))
    command = ["score", str(single), str(rows), "--out", str(tmp_path / "out.csv"), "--window", "32", "--no-canary"]
    end, ended = WindowScorer.end, [0]

    def interrupted(*arguments: Any) -> Any:
        ended[0] += 1
        if ended[0] == 3:
            raise KeyboardInterrupt
        return end(*arguments)

    monkeypatch.setattr(WindowScorer, "end", interrupted)
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 130
    assert "64 rows are kept: the same command with --resume goes on" in result.stderr
    monkeypatch.undo()
    monkeypatch.setattr("serve.operations.progress._LONG_SECONDS", 0.0)
    result = CliRunner().invoke(main, [*command, "--resume"])
    assert result.exit_code == 0, result.output
    assert "going on after 64 rows" in result.stderr
    assert "making the output whole" in result.stderr
