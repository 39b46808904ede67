"""The public learning-to-rank sets: what there is, under which terms, and what a right copy contains."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

import numpy as np

from lambdamart_kit.core.typing import Settings
from lambdamart_kit.datasets.dataset import RankingDataset


@dataclass(frozen=True)
class Archive:
    """A file to download.

    Attributes
    ----------
    file : str
        Its name.
    url : str or None
        Where it is; None if it must be asked for by hand.
    sha256 : str or None
        Its published checksum.
    bytes : int or None
        Its size.
    """

    file: str
    url: str | None = None
    sha256: str | None = None
    bytes: int | None = None


@dataclass(frozen=True)
class Counts:
    """Rows and queries of a part of a set."""

    rows: int
    queries: int


@dataclass(frozen=True)
class Entry:
    """One set of the catalogue.

    Attributes
    ----------
    name, origin, homepage, terms : str
        What it is, where it is from, and under which terms it may be used.
    manual : str
        How to get it by hand, and where to put it.
    folder : str
        Its folder below the data folder.
    features : int
        Columns.
    labels : tuple of int
        Grades that occur.
    folds : int
        Folds it comes in.
    rows, queries : int or None
        Of the whole set.
    archive : Archive or None
        What can be downloaded.
    inside : str
        Folder of the archive that holds the set.
    parts : mapping of str to Counts
        ``"Fold1/train"``, ... or ``"train"``, ...: what each file holds.
    """

    name: str
    origin: str
    homepage: str
    terms: str
    manual: str
    folder: str
    features: int
    labels: tuple[int, ...]
    folds: int
    rows: int | None = None
    queries: int | None = None
    archive: Archive | None = None
    inside: str = ""
    parts: Mapping[str, Counts] = field(default_factory=dict)

    def problems(self, part: str, data: RankingDataset) -> list[str]:
        """What about `data` does not fit this set's `part`; empty if all is right.

        Parameters
        ----------
        part : str
            Such as ``"Fold1/train"``; a part without published counts is checked for features and labels.
        data : RankingDataset
            What was read.

        Examples
        --------
        >>> from lambdamart_kit.datasets import info, make_letor
        >>> info("MSLR-WEB10K").problems("Fold1/vali", make_letor(5, random_state=0))[1]
        'Fold1/vali has 5 queries, expected 2,000'
        """
        found = {"rows": len(data), "queries": data.queries.n_queries, "features": data.X.shape[1]}
        expected = {"features": self.features} | (vars(self.parts[part]) if part in self.parts else {})
        wrong = [
            f"{part} has {found[what]:,} {what}, expected {expected[what]:,}"
            for what in found
            if what in expected and found[what] != expected[what]
        ]
        strange = set(np.unique(data.y).tolist()) - set(self.labels)
        return wrong + ([f"{part} has labels {sorted(strange)[:5]}"] if strange else [])


def catalogue() -> tuple[Entry, ...]:
    """All known sets.

    Examples
    --------
    >>> from lambdamart_kit.datasets import catalogue
    >>> [entry.name for entry in catalogue()][:4]
    ['MSLR-WEB10K', 'MSLR-WEB30K', 'MQ2007', 'MQ2008']
    """
    return _read_catalogue(packaged_files() / "catalogue.toml")


def info(name: str) -> Entry:
    """The set called `name`, in any case.

    Parameters
    ----------
    name : str
        Name of a data set, in any case.

    Returns
    -------
    Entry
        Where it comes from, its terms, its size and its layout.

    Raises
    ------
    ValueError
        If there is none; the message has the nearest names.

    Examples
    --------
    >>> from lambdamart_kit.datasets import info
    >>> info("mq2008").queries
    784
    """
    by_name = {entry.name.lower(): entry for entry in catalogue()}
    if name.lower() not in by_name:
        near = difflib.get_close_matches(name.lower(), by_name, n=3) or list(by_name)
        raise ValueError(
            f"'name' must be a data set of the catalogue; got {name!r}, "
            f"known: {', '.join(by_name[known].name for known in near)}"
        )
    return by_name[name.lower()]


def packaged_files() -> Path:
    """The folder with the catalogue: inside an installed package, or at the root of a checkout."""
    installed = Path(__file__).parent / "_files"
    return installed if installed.is_dir() else Path(__file__).parents[2] / "datasets"


@lru_cache(maxsize=2)
def _read_catalogue(path: Path) -> tuple[Entry, ...]:
    try:
        return tuple(_entry(fields) for fields in tomllib.loads(path.read_text("utf-8"))["dataset"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            f"{path}: the catalogue is damaged ({error}); install lambdamart-kit again"
        ) from None


def _entry(fields: Settings) -> Entry:
    archive = Archive(**fields["archive"]) if "archive" in fields else None
    parts = {name: Counts(**counts) for name, counts in fields.get("parts", {}).items()}
    structured = {"labels": tuple(fields["labels"]), "archive": archive, "parts": MappingProxyType(parts)}
    return Entry(**fields | structured)
