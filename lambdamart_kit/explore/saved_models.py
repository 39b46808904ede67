"""A ranker or a reward model as a part of a policy's file."""

from __future__ import annotations

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
    if not hasattr(model, "to_bytes"):
        raise TypeError(
            f"a policy on a {type(model).__name__} cannot be saved; use a ranker or a reward model of the kit"
        )
    return bytes(model.to_bytes())


def read_model_bytes(content: bytes, where: str) -> Any:
    """The ranker or reward model whose file has this content.

    Raises
    ------
    ModelFormatError
        If it is neither, or damaged.
    """
    found = saving.unpack(content, where)
    if found.class_name == RewardModel.__name__:
        return RewardModel.of_content(found, where)
    return read_ranker(content, where)
