"""The notebook, cell by cell, against the local AWS server: from endpoint.toml to answers and back to nothing."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests import ROOT
from tests.aws.deploy.aws_account import ENDPOINT_TOML, AwsServer, put_image

NOTEBOOK = ROOT / "deploy" / "notebooks" / "sagemaker.ipynb"
RECORD = {
    "outputs": "The 16th president of the United States.",
    "session_id": "5d2e",
    "finish_reason": "stop",
    "sources": [{"title": "Abraham Lincoln", "text": "...", "score": 0.8, "document_id": "1", "url": "https://w/A"}],
}


def cells(kind: str) -> list[str]:
    notebook = json.loads(NOTEBOOK.read_text("utf-8"))
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == kind]


def will_answer(server: AwsServer, records: list[dict[str, Any]]) -> None:
    results = [{"Body": json.dumps(record), "ContentType": "application/json"} for record in records]
    body = json.dumps({"region": "eu-west-1", "results": results}).encode()
    url = f"{server.url}/moto-api/static/sagemaker/endpoint-results"
    asked = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    urllib.request.urlopen(asked, timeout=10).close()


def test_every_cell_runs_from_the_file_to_an_answer_and_leaves_nothing_that_costs(
    aws_server: AwsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = ENDPOINT_TOML
    for folder in ("chat-20b-tp4", "moderation-6b-tp4", "wikipedia", "contriever"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "weights.safetensors").write_bytes(folder.encode())
        text = text.replace(
            f's3 = "s3://models-of-ours/{folder}/"', f's3 = "s3://models-of-ours/{folder}/"\nfolder = "{folder}"'
        )
    (tmp_path / "endpoint.toml").write_text(text)
    put_image(aws_server, "0.1.0", "first")
    will_answer(aws_server, [RECORD, {**RECORD, "outputs": "Mary Todd."}])
    monkeypatch.setenv("ENDPOINT_FILE", str(tmp_path / "endpoint.toml"))
    monkeypatch.setenv("POLL_S", "0.01")
    names: dict[str, Any] = {}
    for number, cell in enumerate(cells("code")):
        exec(compile(cell, f"cell {number}", "exec"), names)
    said = capsys.readouterr().out
    assert "The 16th president of the United States." in said
    assert "[1] Abraham Lincoln: https://w/A" in said
    assert "Mary Todd." in said
    assert len(aws_server.recorder.of("CreateEndpoint")) == 1
    sagemaker = aws_server.client("sagemaker")
    assert sagemaker.list_endpoints()["Endpoints"] == sagemaker.list_models()["Models"] == []


def test_no_output_is_stored_in_the_notebook() -> None:
    notebook = json.loads(NOTEBOOK.read_text("utf-8"))
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in notebook["cells"])
