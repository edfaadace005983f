"""AWS over real HTTP on loopback: moto's server for everything, dynalite as a second DynamoDB."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer

HERE = Path(__file__).parent
# dynalite ends when a client goes away in the middle of a request, as a killed one does; DynamoDB does not.
DYNALITE = """
process.on('uncaughtException', error => {
  if (error.code !== 'ECONNRESET') { console.error(error); process.exit(1); }
});
const server = require('dynalite')({createTableMs: 20, deleteTableMs: 20});
server.listen(0, '127.0.0.1', () => console.log('http://127.0.0.1:' + server.address().port));
"""


@pytest.fixture(scope="session")
def moto_url() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="session")
def dynalite_url() -> Iterator[str]:
    assert (HERE / "node_modules" / "dynalite").is_dir(), "run: npm ci --prefix tests/aws"
    with subprocess.Popen(["node", "-e", DYNALITE], cwd=HERE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        assert url, "dynalite ended at once"
        yield url
        server.kill()


@pytest.fixture
def aws_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """What boto3 needs besides an endpoint; neither server checks it."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_DYNAMODB"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def aws_url(moto_url: str, aws_credentials: None, monkeypatch: pytest.MonkeyPatch) -> str:
    """moto's address, with boto3 pointed at it for the length of a test."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto_url)
    return moto_url
