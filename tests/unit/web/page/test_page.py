from __future__ import annotations

import re
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from server.config import ConfigError, Settings, from_env
from server.web.app import create_app
from server.web.page.route import PAGE_FILES, PAGE_FOLDER
from tests.unit.web.fakes import Fakes


@pytest.mark.parametrize("path", sorted(PAGE_FILES))
def test_the_page_s_files_come_under_a_strict_content_policy(client: FlaskClient, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 200
    assert response.data == (PAGE_FOLDER / PAGE_FILES[path]).read_bytes()
    policy = response.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self';")
    assert "unsafe" not in policy
    assert response.headers["X-Content-Type-Options"] == "nosniff"


def test_title_and_logo_are_the_settings_s(tmp_path: Path) -> None:
    logo = tmp_path / "ours.png"
    logo.write_bytes(b"PNG")
    fakes = Fakes(settings=Settings(page_title="A <b> & C", page_logo=logo))
    client = create_app(fakes.services).test_client()
    assert "<title>A &lt;b&gt; &amp; C</title>" in client.get("/").text
    assert (client.get("/logo").data, client.get("/logo").content_type) == (b"PNG", "image/png")
    with pytest.raises(ConfigError, match="OCK_PAGE_LOGO="):
        from_env({"OCK_PAGE_LOGO": str(tmp_path / "none.png")})


def test_every_file_of_the_page_is_served() -> None:
    assert {path.name for path in PAGE_FOLDER.iterdir()} == set(PAGE_FILES.values())


def test_the_page_has_no_inline_script_style_or_foreign_address() -> None:
    html = (PAGE_FOLDER / "page.html").read_text("utf-8")
    assert re.findall(r"<script(?![^>]*\ssrc=)", html) == []
    assert re.findall(r"<style|\sstyle=|\son\w+=|javascript:", html) == []
    for path in PAGE_FOLDER.glob("*.*"):
        addresses = re.findall(r"https?://[\w.]+", path.read_text("utf-8"))
        assert set(addresses) <= {"http://www.w3.org"}, path
    scripts = "".join(path.read_text("utf-8") for path in PAGE_FOLDER.glob("*.js"))
    assert re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function", scripts) == []
