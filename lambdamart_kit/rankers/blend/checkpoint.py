"""Finished fits in a folder, so that a run that was killed goes on where it was."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

from lambdamart_kit.rankers.base import BaseRanker
from lambdamart_kit.rankers.blend.members import read_ranker
from lambdamart_kit.runtime.atomic_file import atomic_file

_MANIFEST = "run.json"


class FitStore:
    """A folder with a model file for each finished fit of one run.

    Parameters
    ----------
    folder : path
        Made if it is not there.
    fingerprint : str
        Of the data and the settings: fits of another run are not taken for those of this one.
    seed : int
        Of the run. A run that goes on takes the seed that it began with.

    Attributes
    ----------
    seed : int

    Raises
    ------
    ValueError
        If the folder holds another run.
    """

    def __init__(self, folder: str | os.PathLike[str], fingerprint: str, seed: int) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        manifest = self.folder / _MANIFEST
        self.seed = seed
        if manifest.exists():
            known = json.loads(manifest.read_text())
            if known.get("fingerprint") != fingerprint:
                raise ValueError(
                    f"'checkpoint' must be a folder of this run or a new one; {self.folder} holds fits on "
                    "other data or with other settings; pass another folder or delete it"
                )
            self.seed = int(known["seed"])
        else:
            with atomic_file(manifest) as stream:
                stream.write(json.dumps({"fingerprint": fingerprint, "seed": seed}).encode())

    def load(self, name: str) -> tuple[BaseRanker, float] | None:
        """A finished fit and its seconds, or None if there is none of that name."""
        path = self.folder / f"{name}.lmk"
        with suppress(FileNotFoundError):
            content = path.read_bytes()
            model = read_ranker(content, os.fspath(path))
            return model, sum(model.fit_times_.values())
        return None

    def save(self, name: str, model: BaseRanker) -> None:
        """Keep a finished fit."""
        with atomic_file(self.folder / f"{name}.lmk") as stream:
            stream.write(model.to_bytes())
