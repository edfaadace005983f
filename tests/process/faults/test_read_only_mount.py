"""A store on a file system that is really mounted for reading alone, which being root does not get around."""

from __future__ import annotations

import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests import ROOT

IN_A_NAMESPACE = ("unshare", "--user", "--map-root-user", "--mount")
BOTH_REFUSE = """
    import subprocess, sys, time
    from container.machine.preflight import check_store
    from server.chat.store.from_url import open_store
    folder = sys.argv[1]
    store = {"clock": time.time, "session_ttl_s": 0, "session_lock_s": 60}
    open_store(f"sqlite:///{folder}/c.sqlite", **store).close()
    subprocess.run(["mount", "--bind", folder, folder], check=True)
    subprocess.run(["mount", "-o", "remount,ro,bind", folder], check=True)
    for name in ("c.sqlite", "new.sqlite"):
        url = f"sqlite:///{folder}/{name}"
        for refuse in (check_store, lambda url: open_store(url, **store)):
            try:
                refuse(url)
            except Exception as error:
                print(type(error).__name__, error)
"""


def _why_not() -> str:
    if shutil.which("unshare") is None:
        return "there is no unshare(1)"
    tried = subprocess.run([*IN_A_NAMESPACE, "true"], capture_output=True, text=True)
    return tried.stderr.strip() if tried.returncode else ""


@pytest.mark.skipif(bool(_why_not()), reason=f"no mount namespace of one's own: {_why_not()}")
def test_a_store_on_a_read_only_mount_ends_the_start_with_one_sentence(tmp_path: Path) -> None:
    command = [*IN_A_NAMESPACE, sys.executable, "-c", textwrap.dedent(BOTH_REFUSE), str(tmp_path)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    said = ran.stdout.splitlines()
    assert [line.split()[0] for line in said] == ["Refusal", "ConfigError"] * 2, said
    assert all(str(tmp_path) in line and "OCK_STORE" in line for line in said), said
