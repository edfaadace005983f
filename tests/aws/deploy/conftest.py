"""moto's server over real HTTP, in this process, so that its gaps can be filled and endpoints can be made to fail."""

from __future__ import annotations

import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

from tests.aws.deploy import sagemaker_gaps
from tests.aws.deploy.aws_account import ENDPOINT_TOML, REGION, AwsServer, put_image
from tests.aws.deploy.recorder import Recorder


class _QuietHandler(MotoRequestHandler):
    def log(self, type: str, message: str, *args: object) -> None:
        """Nothing: the tests look at what was received."""


@pytest.fixture(scope="session")
def _moto() -> Iterator[AwsServer]:
    fleet = sagemaker_gaps.Fleet()
    recorder = Recorder(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, recorder, threaded=True, request_handler=_QuietHandler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    with pytest.MonkeyPatch.context() as patch:
        sagemaker_gaps.fill(patch, fleet)
        yield AwsServer(f"http://127.0.0.1:{server.server_port}", recorder, fleet)
    server.shutdown()
    thread.join()


@pytest.fixture
def aws_server(_moto: AwsServer, monkeypatch: pytest.MonkeyPatch) -> AwsServer:
    """An empty AWS account; boto3's own environment variables point to it."""
    request = urllib.request.Request(f"{_moto.url}/moto-api/reset", method="POST")
    urllib.request.urlopen(request, timeout=10).close()
    _moto.recorder.clear()
    _moto.fleet.outcomes.clear()
    _moto.fleet.quotas.clear()
    _moto.fleet.refusals.clear()
    _moto.fleet.moving.clear()
    _moto.fleet.components.clear()
    monkeypatch.setenv("AWS_ENDPOINT_URL", _moto.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    return _moto


@pytest.fixture
def endpoint_toml(tmp_path: Path) -> Path:
    path = tmp_path / "endpoint.toml"
    path.write_text(ENDPOINT_TOML)
    return path


@pytest.fixture
def ready_account(aws_server: AwsServer) -> AwsServer:
    """An account that holds the image and the uploaded artifacts, as `image push` and `upload` leave it."""
    put_image(aws_server, "0.1.0", "first")
    s3 = aws_server.client("s3")
    s3.create_bucket(Bucket="models-of-ours", CreateBucketConfiguration={"LocationConstraint": REGION})
    for folder in ("chat-20b-tp4", "moderation-6b-tp4", "wikipedia", "contriever"):
        s3.put_object(Bucket="models-of-ours", Key=f"{folder}/weights.safetensors", Body=b"x" * 100)
        s3.put_object(Bucket="models-of-ours", Key=f"{folder}/manifest.json", Body=b"{}")
    aws_server.recorder.clear()
    return aws_server
