"""What is served when settings are left out: what the platform mounted, else the demo that the image carries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

ML_ROOT = Path("/opt/ml")
DEMO = Path(__file__).resolve().parent / "demo"
# What the demo's small chat model wants: a passage of one sentence, and an end to a reply that finds none.
DEMO_SETTINGS = {"OCK_SEARCH_WINDOW": "0", "OCK_MAX_NEW_TOKENS": "96"}
ROLES = {
    "chat": "OCK_CHAT_MODEL",
    "moderation": "OCK_MODERATION_MODEL",
    "output_moderation": "OCK_OUTPUT_MODERATION_MODEL",
    "index": "OCK_INDEX",
    "encoder": "OCK_ENCODER",
}
POLICY_FILE = "policy.toml"  # beside the demo's moderation model: it has a second judge, which the demo's encoder makes


@dataclass(frozen=True)
class Places:
    """Where artifacts are looked for: SageMaker's mounts and the embedded demo."""

    ml_root: Path = field(default=ML_ROOT)
    demo: Path = field(default=DEMO)

    def mounted(self) -> dict[str, Path]:
        """The folder of each role under /opt/ml: a channel or a subfolder of its name, or the model itself."""
        found = {}
        for root in (self.ml_root / "additional-model-data-sources", self.ml_root / "model"):
            found.update({role: root / role for role in ROLES if _has_files(root / role)})
        if (self.ml_root / "model" / "config.json").is_file():
            found["chat"] = self.ml_root / "model"
        return found

    def embedded(self) -> dict[str, Path]:
        """The folders of the demo that this installation carries."""
        return {role: self.demo / role for role in ROLES if _has_files(self.demo / role)}

    def policy_for(self, environ: Mapping[str, str]) -> dict[str, str]:
        """The demo's policy as a setting, unless another model or encoder than the demo's is named."""
        path = self.demo / "moderation" / POLICY_FILE
        is_whole = not {ROLES["moderation"], ROLES["encoder"]} & environ.keys() and _has_files(self.demo / "encoder")
        return {"OCK_POLICY": str(path)} if is_whole and path.is_file() else {}


def with_defaults(environ: Mapping[str, str], places: Places) -> dict[str, str]:
    """`environ` with the settings that it leaves out: port, and the artifacts of each role.

    A setting that is there, even empty, is left as it is. The demo, and what suits it, comes in only when no chat model
    is named or mounted: its parts belong together.
    """
    filled = with_mounts(environ, places)
    if "SAGEMAKER_BIND_TO_PORT" in environ:
        filled.setdefault("OCK_PORT", environ["SAGEMAKER_BIND_TO_PORT"])
    if "OCK_CHAT_MODEL" not in filled:
        embedded = {ROLES[role]: str(path) for role, path in places.embedded().items()}
        filled = {**(DEMO_SETTINGS if embedded else {}), **places.policy_for(filled), **embedded, **filled}
    return filled


def with_mounts(environ: Mapping[str, str], places: Places) -> dict[str, str]:
    """`environ` with the artifacts that are mounted and that it does not name; an empty chat model is none."""
    filled = dict(environ)
    if not filled.get("OCK_CHAT_MODEL"):
        filled.pop("OCK_CHAT_MODEL", None)
    for role, path in places.mounted().items():
        filled.setdefault(ROLES[role], str(path))
    return filled


def _has_files(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())
