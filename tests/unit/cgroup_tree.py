"""A process's view of control groups, made of files."""

from __future__ import annotations

from pathlib import Path

FILES_OF_VERSION = {1: "cgroup", 2: "cgroup2"}


def cgroup_tree(tmp_path: Path, version: int, controller: str, groups: dict[str, dict[str, str]]) -> Path:
    """A /proc/self whose process is in the last of `groups` (file contents by the group's path, from the top)."""
    proc, top = tmp_path / "proc", tmp_path / "cg roup"
    proc.mkdir()
    for path, files in groups.items():
        folder = top / path.strip("/")
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / name).write_text(f"{text}\n")
    own = list(groups)[-1]
    escaped = str(top).replace(" ", "\\040")
    options = f"rw,{controller}" if version == 1 else "rw"
    (proc / "cgroup").write_text(f"3:devices:/elsewhere\n{'0:' if version == 2 else f'4:{controller},x'}:{own}\n")
    (proc / "mountinfo").write_text(
        f"31 23 0:28 / /sys rw - sysfs sysfs rw\n"
        f"35 31 0:32 / {escaped} rw,relatime - {FILES_OF_VERSION[version]} none {options}\n"
    )
    return proc
