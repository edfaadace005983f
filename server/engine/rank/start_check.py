"""What a group must prove before it serves: its files are those that were packaged, and it says what they should."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from server.config import Settings
from server.engine.parallel.group import Rank, all_agree
from server.engine.rank.loaded_models import GroupModel, model_folders
from server.engine.weights.checkpoint_files import is_packaged
from server.engine.weights.family import FAMILIES, family_of
from server.engine.weights.golden import GoldenCheck, GoldenError
from server.engine.weights.load import read_config
from server.engine.weights.manifest import Manifest, check_file, read_manifest
from server.engine.weights.sources import WeightsError
from server.wire import CHAT, INPUT_MODERATION, OUTPUT_MODERATION

log = logging.getLogger(__name__)

_SETTING = {
    CHAT: "OCK_CHAT_MODEL",
    INPUT_MODERATION: "OCK_MODERATION_MODEL",
    OUTPUT_MODERATION: "OCK_OUTPUT_MODERATION_MODEL",
}


class StartCheck:
    """The checks of one rank; all ranks make the same calls in the same order.

    Raises:
        WeightsError: a manifest that cannot be read.
        WeightsError: several ranks are to share a model of a family that is not known, and no golden data proves it.
        GoldenError: OCK_GOLDEN=require, and a folder has no golden data.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._folders = model_folders(settings)
        self._manifests: Mapping[str, Manifest] = {
            name: read_manifest(folder) for name, folder in self._folders.items() if is_packaged(folder)
        }
        if settings.golden == "require":
            self._require_golden()
        if settings.tensor_parallel_degree > 1:
            self._require_proof()

    def check_files(self, rank: Rank) -> None:
        """Compare the checksums of this rank's files with the manifests'. The group fails together.

        Raises:
            WeightsError: a file of this rank, or of another, is damaged.
        """
        damage = _first_damage(self._manifests, self._folders, rank.rank)
        all_whole = all_agree(rank, damage is None)
        if damage is not None:
            raise damage
        if not all_whole:
            raise WeightsError("another rank found a damaged file and says which")

    def check_answers(self, models: Mapping[str, GroupModel]) -> None:
        """Run every packaged model's golden prompts through the group.

        Raises:
            GoldenError: an answer beyond the tolerance.
        """
        if self._settings.golden == "off":
            return
        for name, manifest in self._manifests.items():
            if manifest.golden is not None:
                worst = self._golden_check(name, manifest, models[name]).check(manifest.golden)
                log.info("golden.matched model=%s share_of_tolerance=%.3f", name, worst)

    def _golden_check(self, name: str, manifest: Manifest, model: GroupModel) -> GoldenCheck:
        dtypes = (self._settings.dtype, manifest.dtype)
        suspects = self._suspects(name)
        return GoldenCheck(
            name,
            model.runner.run,
            model.pool.block_tokens,
            num_slots=model.pool.num_slots,
            dtypes=dtypes,
            suspects=suspects,
        )

    def _suspects(self, name: str) -> str:
        settings = self._settings
        suspects = [f"{_SETTING[name]}={self._folders[name]}"]
        if settings.dtype != "float32":
            suspects.insert(0, f"OCK_DTYPE={settings.dtype}")
        return f"Suspect {', then '.join(suspects)}"

    def _require_proof(self) -> None:
        """A model's own attention proves the attention of any family, but not that AutoTP cut its layers right."""
        for name, folder in self._folders.items():
            config = read_config(folder)
            is_proven = self._settings.golden != "off" and self._has_golden(name)
            if family_of(config) is None and not is_proven:
                raise WeightsError(
                    f"{_SETTING[name]}={folder}: model_type {config.model_type!r} is none of {', '.join(FAMILIES)}; on "
                    "several ranks another family needs golden data, which 'python -m deploy package' makes, or use "
                    "OCK_TENSOR_PARALLEL_DEGREE=1"
                )

    def _has_golden(self, name: str) -> bool:
        return name in self._manifests and self._manifests[name].golden is not None

    def _require_golden(self) -> None:
        for name, folder in self._folders.items():
            if not self._has_golden(name):
                raise GoldenError(
                    f"OCK_GOLDEN=require: {_SETTING[name]}={folder} has no golden data; "
                    "'python -m deploy package' makes a folder that has"
                )


def _first_damage(manifests: Mapping[str, Manifest], folders: Mapping[str, Path], rank: int) -> WeightsError | None:
    for name, manifest in manifests.items():
        for file in manifest.files_of(rank):
            try:
                check_file(folders[name], file, manifest.files[file])
            except WeightsError as error:
                return error
    return None
