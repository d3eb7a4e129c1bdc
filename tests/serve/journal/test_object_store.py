"""Against a real object store's protocol on this machine: S3 as moto speaks it, reached by s3fs."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from serve.cli import main
from serve.journal.output import merge
from tests.serve import bundles
from tests.serve.helpers import score, write_csv

s3fs = pytest.importorskip("s3fs")
server = pytest.importorskip("moto.server")
REPOSITORY = Path(__file__).parents[3]
OPTIONS: dict[str, Any] = {"precision": "int8", "window": 32, "part_rows": 60, "canary": False}


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """An S3 service on the loopback device, and an environment by which everything reaches it."""
    service = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    service.start()
    host, port = service.get_host_and_port()
    url = f"http://{host}:{port}"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "AWS_ENDPOINT_URL": url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "NO_PROXY": "127.0.0.1",
        }.items():
            patch.setenv(name, value)
        yield url
    service.stop()


@pytest.fixture
def bucket(endpoint: str, request: pytest.FixtureRequest) -> str:
    """An empty bucket."""
    assert endpoint
    name = f"b{abs(hash(request.node.name))}"
    s3fs.S3FileSystem(use_listings_cache=False).mkdir(name)
    return name


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """400 rows, a few of them bad."""
    texts = bundles.texts(400)
    texts[5] = texts[77] = texts[199] = ""
    return write_csv(tmp_path / "in.csv", texts)


def _objects(place: str) -> dict[str, bytes]:
    system = s3fs.S3FileSystem(use_listings_cache=False, skip_instance_cache=True)
    names = [name for name in system.find(place) if "/_report" not in name]
    return {name.removeprefix(place): system.cat_file(name) for name in names}


def test_parts_shares_and_merge(single: Path, rows: Path, bucket: str) -> None:
    """A job read from and put to S3 makes the objects of its shares, which `merge` finds whole."""
    s3fs.S3FileSystem().put_file(str(rows), f"{bucket}/in/rows.csv")
    source: Any = f"s3://{bucket}/in/"
    one: Any = f"s3://{bucket}/one.csv"
    two: Any = f"s3://{bucket}/two.csv"
    expected = score(single, source, out=one, **OPTIONS)
    for number in (1, 2):
        score(single, source, out=two, shard=(number, 2), resume=True, **OPTIONS)
    assert merge(two)["sha256"] == expected["sha256"]
    assert _objects(f"{bucket}/two.csv") == _objects(f"{bucket}/one.csv")
    assert len(_objects(f"{bucket}/one.csv")) == 7 + 3


def test_kill_and_resume(single: Path, rows: Path, bucket: str) -> None:
    """A process that is killed between its parts is gone on with from the store alone, to the same objects."""
    whole: Any = f"s3://{bucket}/whole.csv"
    expected = score(single, rows, out=whole, **OPTIONS)
    out: Any = f"s3://{bucket}/out.csv"
    command = [sys.executable, "-m", "serve", "score", str(single), str(rows), "--out", out, "--part-rows", "60"]
    command += ["--precision", "int8", "--device", "cpu", "--window", "32", "--no-canary", "--quiet"]
    # A part a window, and a kill as soon as two of them are there.
    job = subprocess.Popen(command, cwd=REPOSITORY, env=dict(os.environ), stderr=subprocess.PIPE)
    with contextlib.suppress(subprocess.TimeoutExpired):
        system = s3fs.S3FileSystem(use_listings_cache=False, skip_instance_cache=True)
        while job.poll() is None and len(system.find(f"{bucket}/out.csv")) < 4:
            time.sleep(0.01)
        job.send_signal(signal.SIGKILL)
    _, complaint = job.communicate()
    assert job.returncode in (0, -signal.SIGKILL), complaint
    report = score(single, rows, out=out, resume=True, **OPTIONS)
    assert report["sha256"] == expected["sha256"]
    assert _objects(f"{bucket}/out.csv") == _objects(f"{bucket}/whole.csv")


def test_a_bucket_that_is_not_there(single: Path, rows: Path, endpoint: str) -> None:
    """A store's refusal is an error that names the place and the cause, by exit code 1 and without a traceback."""
    assert endpoint
    command = ["score", str(single), str(rows), "--part-rows", "60", "--quiet", "--no-canary"]
    done = CliRunner().invoke(main, [*command, "--out", "s3://no-such-bucket/out.csv"])
    assert (done.exit_code, type(done.exception)) == (1, SystemExit)
    assert "s3://no-such-bucket/out.csv" in done.stderr
