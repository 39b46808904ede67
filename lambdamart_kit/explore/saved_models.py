"""A ranker or a reward model as a part of a policy's file."""

from __future__ import annotations

import os
import tempfile
from typing import Any

from lambdamart_kit.preferences import RewardModel
from lambdamart_kit.rankers import saving
from lambdamart_kit.rankers.blend.members import read_ranker


def model_bytes(model: Any) -> bytes:
    """The content of the file that the model's own `save` writes.

    Raises
    ------
    TypeError
        If the model cannot be saved.
    """
    if hasattr(model, "to_bytes"):
        return bytes(model.to_bytes())
    if not isinstance(model, RewardModel):
        raise TypeError(
            f"a policy on a {type(model).__name__} cannot be saved; use a ranker or a reward model of the kit"
        )
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.lmk")
        model.save(path)
        with open(path, "rb") as file:
            return file.read()


def read_model_bytes(content: bytes, where: str) -> Any:
    """The ranker or reward model whose file has this content.

    Raises
    ------
    ModelFormatError
        If it is neither, or damaged.
    """
    if saving.unpack(content, where).class_name != "RewardModel":
        return read_ranker(content, where)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.lmk")
        with open(path, "wb") as file:
            file.write(content)
        return RewardModel.load(path)
