"""Policies as files: the kit's model format, a zip of JSON and arrays without any pickle."""

from __future__ import annotations

import os
from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.utils.validation import check_is_fitted

from lambdamart_kit.core.typing import FloatArray
from lambdamart_kit.preferences.saving import array_bytes, extractor_state, restored_extractor
from lambdamart_kit.rankers import saving

_COEFFICIENTS = "coef.npy"
_STATE = ("n_features_in_", "n_iter_", "converged_")


class PolicyFile:
    """`save` and `load` of a policy."""

    coef_: FloatArray
    history_: pd.DataFrame
    extractor_: Any

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted policy to one file that is safe to open.

        Raises
        ------
        TypeError
            If `features` is a transformer of another library, or a loss is not given by its name.
        """
        check_is_fitted(self)
        files = {_COEFFICIENTS: array_bytes(self.coef_)}
        params = self.get_params(deep=False)  # type: ignore[attr-defined]
        params["loss_params"] = None if params["loss_params"] is None else dict(params["loss_params"])
        state: dict[str, Any] = {name: getattr(self, name) for name in _STATE}
        state["history"] = self.history_.to_dict("list")
        state["extractor"] = extractor_state(self.extractor_, files)
        if self.extractor_ is not None:
            params["features"] = state["extractor"]["name"]
        saving.write(path, type(self).__name__, params, state, files)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a policy that `save` wrote.

        Raises
        ------
        ModelFormatError
            If the file is not one, is damaged, or holds another class.
        """
        content = saving.read_model(path, cls)
        with saving.restoring(path):
            policy = cls(**content.params)
            for name in _STATE:
                setattr(policy, name, content.state[name])
            policy.extractor_ = restored_extractor(content.state["extractor"], content.files)
            policy.coef_ = np.asarray(saving.read_array(content.files[_COEFFICIENTS]), dtype=np.float64)
            policy.history_ = pd.DataFrame(content.state["history"])
            saving.try_out(policy.n_features_in_, policy.predict)  # type: ignore[attr-defined]
        return policy
