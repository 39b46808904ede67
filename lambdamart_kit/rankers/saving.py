"""One file a model: a zip of ``manifest.json`` and the model in its library's own text format. No pickle.

The manifest holds the format's version, the class, its parameters and fitted attributes, and the SHA-256 of
every other member; all of it is checked before anything is used.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from lambdamart_kit.core.typing import Settings
from lambdamart_kit.runtime.atomic_file import atomic_file
from lambdamart_kit.runtime.python_parser import PARSER
from lambdamart_kit.runtime.version import __version__

FORMAT = "lambdamart_kit.model"
VERSION = 1
_MANIFEST = "manifest.json"
_MOST_FEATURES = 1 << 24
_MOST_BYTES = 4 << 30  # of a model with all its parts unpacked
_MOST_MEMBERS = 10_000
_ENCRYPTED = 0x1  # bit of a zip entry's flags
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    KeyError,
    EOFError,
    ValueError,
    NotImplementedError,
    RecursionError,
    MemoryError,
    RuntimeError,
    struct.error,
)


RANKERS = {
    "AutoRanker": "blend.auto",
    "CatBoostRanker": "library_rankers",
    "EnsembleRanker": "blend.ensemble",
    "LambdaMART": "lambdamart",
    "LightGBMRanker": "library_rankers",
    "LinearRanker": "linear",
    "NeuralRanker": "neural",
    "PointwiseRanker": "pointwise",
    "XGBoostRanker": "library_rankers",
}
"""The module of `lambdamart_kit.rankers` that each class of rankers lives in."""


class ModelFormatError(ValueError):
    """A model file that cannot be used, and why.

    Examples
    --------
    >>> import tempfile
    >>> from lambdamart_kit.rankers import load_ranker
    >>> path = os.path.join(tempfile.mkdtemp(), "model.zip")
    >>> with open(path, "w") as file:
    ...     _ = file.write("not a model")
    >>> try:
    ...     load_ranker(path)
    ... except ModelFormatError:
    ...     print("not a model file")
    not a model file
    """


@dataclass(frozen=True)
class Content:
    """Content of a model file."""

    class_name: str
    params: dict[str, Any]
    state: dict[str, Any]
    files: dict[str, bytes]


class UnsavedCallable:
    """Stands for a callable parameter of a loaded model, which no file can hold.

    The model predicts without it. Calling it, as a new fit does, raises an error that says what is missing.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"<{self.name}: not saved>"

    def __call__(self, *_: Any) -> Any:
        """Raise: there is nothing to call."""
        raise ValueError(
            f"the objective, metric or callback was the callable {self.name!r}, which a saved model does not "
            "contain; set_params(objective=...), eval_metric=... or callbacks=... before fitting or scoring"
        )


def write(
    path: str | os.PathLike[str],
    class_name: str,
    params: Settings,
    state: Settings,
    files: dict[str, bytes],
) -> None:
    """Write a model file; a half-written file never takes the place of a good one."""
    with atomic_file(path) as stream:
        _write_archive(stream, class_name, params, state, files)


def pack(class_name: str, params: Settings, state: Settings, files: dict[str, bytes]) -> bytes:
    """The bytes of a model file, which may become a part of another one."""
    content = io.BytesIO()
    _write_archive(content, class_name, params, state, files)
    return content.getvalue()


def _write_archive(
    stream: BinaryIO, class_name: str, params: Settings, state: Settings, files: dict[str, bytes]
) -> None:
    manifest = {
        "format": FORMAT,
        "version": VERSION,
        "written_by": f"lambdamart_kit {__version__}",
        "class": class_name,
        "params": {name: _encode(value, f"parameter {name!r}") for name, value in params.items()},
        "state": {name: _encode(value, f"attribute {name!r}") for name, value in state.items()},
        "files": {name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
    }
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(_MANIFEST, json.dumps(manifest, indent=1))
        for name, content in files.items():
            archive.writestr(name, content)


def read(path: str | os.PathLike[str]) -> Content:
    """Read and check a model file.

    Raises
    ------
    ModelFormatError
        If it is not a model file, is damaged, or was written by a newer version of the format.
    FileNotFoundError
        If there is no such file.
    """
    if os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path):
        raise ModelFormatError(
            f"{os.fspath(path)}: not a model file, but a device or a pipe, which may not end"
        )
    with open(path, "rb") as stream:
        return _read_archive(stream, os.fspath(path))


def unpack(content: bytes, where: str) -> Content:
    """Read and check the bytes that `pack` made; `where` is how errors call them.

    Raises
    ------
    ModelFormatError
        As `read` does.
    """
    return _read_archive(io.BytesIO(content), where)


def _read_archive(stream: BinaryIO, where: str) -> Content:
    try:
        members = _members(stream, most_bytes=_MOST_BYTES)
        manifest = json.loads(members.pop(_MANIFEST))
    except _DAMAGE as error:
        raise ModelFormatError(f"{where}: not a model file, or damaged ({error})") from None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise ModelFormatError(f"{where}: not a model file of lambdamart_kit")
    version = manifest.get("version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise ModelFormatError(f"{where}: the manifest is damaged ('version' is {version!r})")
    if version > VERSION:
        raise ModelFormatError(
            f"{where}: format version {version} is newer than this lambdamart_kit reads "
            f"({VERSION}); it was written by {manifest.get('written_by')}; upgrade lambdamart_kit"
        )
    try:
        _check_members(where, manifest["files"], members)
        params = {name: _decode(value) for name, value in manifest["params"].items()}
        state = {name: _decode(value) for name, value in manifest["state"].items()}
        return Content(str(manifest["class"]), params, state, members)
    except ModelFormatError:
        raise
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError, OverflowError) as error:
        raise ModelFormatError(f"{where}: the manifest is damaged ({error!r})") from None


def read_model(path: str | os.PathLike[str], cls: type, *, remedy: str = "") -> Content:
    """Read a file that must hold a model of the class `cls`.

    Raises
    ------
    ModelFormatError
        If the file is not one, is damaged, was written by a newer version, or holds another class. The
        message then ends with the `remedy`, in which ``{found}`` is the class that the file holds.
    """
    content = read(path)
    if content.class_name != cls.__name__:
        found = content.class_name
        raise ModelFormatError(
            f"{os.fspath(path)}: holds a {found}, not a {cls.__name__}{remedy.format(found=found)}"
        )
    return content


def _members(stream: BinaryIO, *, most_bytes: int, stored: bool = False) -> dict[str, bytes]:
    """The members of a zip archive, which may be hostile: sizes are capped before anything is unpacked.

    Parameters
    ----------
    stream : binary file
    most_bytes : int
        Of all members together, as the archive declares them and as they are.
    stored : bool
        Whether members must not be compressed, as in what ``numpy.savez`` writes.
    """
    with zipfile.ZipFile(stream) as archive:
        entries = archive.infolist()
        names = {entry.filename for entry in entries}
        if len(names) != len(entries) or len(entries) > _MOST_MEMBERS:
            raise ValueError("it has too many parts, or two of one name")
        for entry in entries:
            if entry.flag_bits & _ENCRYPTED or entry.is_dir():
                raise ValueError("it has an encrypted part, or a folder")
            if stored and entry.compress_type != zipfile.ZIP_STORED:
                raise ValueError("its arrays are compressed")
            if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise ValueError("it has a part that is neither stored nor deflated")
        if sum(entry.file_size for entry in entries) > most_bytes:
            raise ValueError(f"its parts are larger than {most_bytes:,} bytes")
        try:
            # zipfile reads no more of a member than its declared size.
            return {entry.filename: archive.read(entry) for entry in entries}
        except OSError as error:  # a part that starts before the file does
            raise ValueError(f"a part cannot be read: {error}") from None


def read_arrays(content: bytes) -> dict[str, np.ndarray]:
    """The arrays in the bytes of what ``numpy.savez`` wrote, without pickle and without compression.

    Raises
    ------
    ValueError
        If they are damaged.
    """
    members = _members(io.BytesIO(content), most_bytes=len(content), stored=True)
    arrays = {}
    for name, member in members.items():
        arrays[name.removesuffix(".npy")] = read_array(member)
    return arrays


def read_array(content: bytes) -> np.ndarray:
    """The array of numbers in the bytes of a ``.npy`` file; files with pickled objects are refused.

    Raises
    ------
    ValueError
        If it is damaged, or holds anything but finite numbers.
    """
    with PARSER:
        array: np.ndarray = np.load(io.BytesIO(content), allow_pickle=False)
    if array.dtype.kind not in "biuf" or not np.isfinite(array).all():
        raise ValueError("an array does not hold finite numbers")
    return array


@contextmanager
def restoring(path: str | os.PathLike[str]) -> Iterator[None]:
    """Inside the block a model is put together from a file; whatever fails there is damage of the file.

    Raises
    ------
    ModelFormatError
        Instead of any other error but that a library is not installed.
    """
    try:
        yield
    except (ModelFormatError, ImportError):
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise ModelFormatError(
            f"{os.fspath(path)}: the model is damaged ({reason or type(error).__name__})"
        ) from None


def check_state(state: Settings, names: Sequence[str], class_name: str) -> None:
    """Refuse fitted attributes that a file must not set, or that every ranker needs and it does not have.

    Raises
    ------
    ValueError
        Naming the attribute.
    """
    for name in state:
        if not (name in names or (name.endswith("_") and not name.startswith("_"))):
            raise ValueError(f"{name!r} is no attribute of a {class_name}")
    fits = {"n_features_in_": int, "categories_": dict, "categorical_columns_": tuple}
    for name, kind in fits.items():
        if name in names and (not isinstance(state.get(name), kind) or isinstance(state[name], bool)):
            raise ValueError(f"{name!r} must be a {kind.__name__}")


def try_out(n_features: int, predict: Callable[[np.ndarray], np.ndarray]) -> None:
    """Score a row of zeros: parts that do not fit together are found now, and not by the first user.

    Raises
    ------
    Exception
        Whatever `predict` raises, or a ValueError if it does not give one number.
    """
    if not 1 <= n_features <= _MOST_FEATURES:
        raise ValueError(f"'n_features_in_' must be from 1 to {_MOST_FEATURES:,}; got {n_features}")
    scores = predict(np.zeros((1, n_features), dtype=np.float32))
    if np.shape(scores) != (1,) or not np.isfinite(scores).all():
        raise ValueError("its score of a row of zeros is no number")


def check_shape(array: np.ndarray, shape: tuple[int | None, ...], name: str) -> None:
    """Refuse an array of another shape, which NumPy might stretch to fit; None is any number.

    Raises
    ------
    ValueError
        Naming the array and both shapes.

    Examples
    --------
    >>> check_shape(np.zeros((2, 3)), (None, 3), "coef")
    """
    fits = len(array.shape) == len(shape) and all(
        size == expected for size, expected in zip(array.shape, shape) if expected is not None
    )
    if not fits:
        wanted = ", ".join("any" if size is None else str(size) for size in shape)
        raise ValueError(f"{name!r} must be of shape ({wanted}); got {array.shape}")


def _check_members(where: str, expected: dict[str, str], members: dict[str, bytes]) -> None:
    if set(expected) != set(members):
        raise ModelFormatError(f"{where}: expected the parts {sorted(expected)}, found {sorted(members)}")
    for name, digest in expected.items():
        if hashlib.sha256(members[name]).hexdigest() != digest:
            raise ModelFormatError(f"{where}: {name} was changed after it was written (SHA-256 differs)")


def _encode(value: Any, what: str) -> Any:
    """JSON for a parameter; what JSON has no word for is a one-entry object with a ``$`` key."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return _encode(value.item(), what)
    if isinstance(value, np.ndarray):
        return _encode(value.tolist(), what)
    if isinstance(value, tuple):
        return {"$tuple": [_encode(v, what) for v in value]}
    if isinstance(value, list):
        return [_encode(v, what) for v in value]
    if isinstance(value, dict):
        return {"$dict": [[_encode(k, what), _encode(v, what)] for k, v in value.items()]}
    # Imported here, because metrics bring Numba, and `lambdamart_kit.rankers` reads names from this module.
    from lambdamart_kit.metrics import METRICS, Metric

    if isinstance(value, Metric) and type(value) in METRICS.values():
        return {"$metric": str(value)}
    if isinstance(value, Metric):  # made of a function, which no file can hold
        return {"$callable": str(value)}
    if dataclasses.is_dataclass(value) and _registered(type(value)):
        fields = {f.name: _encode(getattr(value, f.name), what) for f in dataclasses.fields(value) if f.init}
        return {"$objective": [type(value).__name__, fields]}
    if callable(value) or hasattr(value, "bind"):
        return {"$callable": getattr(value, "__qualname__", type(value).__qualname__)}
    raise TypeError(
        f"{what} cannot be saved: {type(value).__name__} has no JSON form; use numbers, text, lists and the "
        "kit's own objectives, or store the estimator with joblib"
    )


def _decode(value: Any) -> Any:
    if isinstance(value, list):
        return [_decode(v) for v in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "$tuple":
        return tuple(_decode(v) for v in content)
    if kind == "$dict":
        return {_decode(k): _decode(v) for k, v in content}
    if kind == "$metric":
        from lambdamart_kit.metrics import parse_metric

        return parse_metric(content)
    if kind == "$objective":
        name, fields = content
        return _objective_classes()[name](**{k: _decode(v) for k, v in fields.items()})
    if kind == "$callable":
        return UnsavedCallable(content)
    raise ValueError(f"unknown kind {kind!r}")


def _registered(cls: type) -> bool:
    return _objective_classes().get(cls.__name__) is cls


def _objective_classes() -> dict[str, type]:
    """Objectives and position biases by class name: only these are ever made from a file."""
    from lambdamart_kit.clicks import POSITION_BIASES, KnownPropensities
    from lambdamart_kit.objectives import OBJECTIVES, Combined

    classes = (*OBJECTIVES.values(), Combined, *POSITION_BIASES.values(), KnownPropensities)
    return {cls.__name__: cls for cls in classes}
