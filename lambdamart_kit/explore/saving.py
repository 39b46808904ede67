"""Policies as files: the kit's model format, a zip of JSON and arrays without any pickle."""

from __future__ import annotations

import copy
import os
from typing import Any, Self

import numpy as np
from sklearn.exceptions import NotFittedError

from lambdamart_kit.core.typing import Array, Settings
from lambdamart_kit.preferences.saving import array_bytes
from lambdamart_kit.rankers import saving


class PolicyFile:
    """`save` and `load` of a policy that has learned something.

    A subclass says what it knows in `_content` (JSON, arrays, files of models inside) and takes it back in
    `_take_back`.
    """

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the policy to one file that is safe to open.

        The file holds what the policy has learned and the state of its random generator, so that the loaded
        policy goes on as this one would.

        Parameters
        ----------
        path : str or Path
            File to write.

        Raises
        ------
        NotFittedError
            If the policy has not seen anything.
        TypeError
            If a parameter has no form in a file, such as a random generator or a ranker of another library.
        """
        if not hasattr(self, "n_features_in_"):
            raise NotFittedError(
                f"this {type(self).__name__} has not seen anything yet; call partial_fit first"
            )
        state, arrays, files = self._content()
        params = {name: value for name, value in self._params().items() if name not in files}
        rng: np.random.Generator | None = self.__dict__.get("_rng")
        state["rng"] = None if rng is None else _generator_state(rng)
        parts = {f"{name}.npy": array_bytes(values) for name, values in arrays.items()}
        saving.write(path, type(self).__name__, params, state, parts | files)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a policy that `save` wrote.

        Parameters
        ----------
        path : str or Path
            File to read.

        Returns
        -------
        Policy
            As it was when it was saved.

        Raises
        ------
        ModelFormatError
            If the file is not one, is damaged, or holds another class.
        """
        content = saving.read_model(path, cls, remedy="; use load_policy, which reads any")
        with saving.restoring(path):
            state = dict(content.state)
            rng = state.pop("rng")
            arrays = {
                name.removesuffix(".npy"): saving.read_array(part)
                for name, part in content.files.items()
                if name.endswith(".npy")
            }
            policy: Any = cls._made(content.params, state, content.files)
            policy._take_back(state, arrays)
            _try_out(policy)
            if rng is not None:
                policy.__dict__["_rng"] = _generator(rng)
        return policy

    def _params(self) -> Settings:
        return dict(self.get_params(deep=False))  # type: ignore[attr-defined]

    @classmethod
    def _made(cls, params: Settings, state: Settings, files: dict[str, bytes]) -> Self:
        """The policy as it was before it learned anything."""
        return cls(**params)

    def _content(self) -> tuple[Settings, dict[str, Array], dict[str, bytes]]:
        """What was learned: JSON, arrays by name, and files of models inside."""
        raise TypeError(f"{type(self).__name__} has no file format")

    def _take_back(self, state: Settings, arrays: dict[str, Array]) -> None:
        """Take back what `_content` said, and refuse what does not fit together."""
        raise NotImplementedError


def shaped(arrays: dict[str, Array], name: str, shape: tuple[int, ...]) -> Array:
    """The float64 array of that name and shape.

    Raises
    ------
    ValueError
        If it is missing or of another shape.
    """
    values = np.asarray(arrays[name], dtype=np.float64)
    if values.shape != shape:
        raise ValueError(f"{name} must have shape {shape}; got {values.shape}")
    return values


def count(state: Settings, name: str, *, least: int = 0) -> int:
    """The whole number of that name.

    Raises
    ------
    ValueError
        If it is no whole number, or too small.
    """
    value = state[name]
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} must be a whole number >= {least}; got {value!r}")
    return value


def _generator_state(rng: np.random.Generator) -> Settings:
    kind = type(rng.bit_generator).__name__
    if kind != "PCG64":
        raise TypeError(f"'random_state' with a {kind} generator cannot be saved; use a seed")
    inner = rng.bit_generator.state
    return {**inner["state"], "has_uint32": inner["has_uint32"], "uinteger": inner["uinteger"]}


def _generator(state: Settings) -> np.random.Generator:
    rng = np.random.default_rng()
    inner = {name: state[name] for name in ("state", "inc")}
    rest = {name: state[name] for name in ("has_uint32", "uinteger")}
    rng.bit_generator.state = {"bit_generator": "PCG64", "state": inner, **rest}
    return rng


def _try_out(policy: Any) -> None:
    """Choose among rows of zeros with a copy: parts that do not fit together are found now."""
    trial = copy.deepcopy(policy)
    trial._try_out()
