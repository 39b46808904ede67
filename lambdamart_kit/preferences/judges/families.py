"""Families of language models, told from their names: a judge may favour its own."""

from __future__ import annotations

import re

#: Words that name a family, wherever they start in a model's name.
FAMILIES: dict[str, tuple[str, ...]] = {
    "openai": ("gpt", "chatgpt", "o1", "o3", "o4", "davinci", "openai"),
    "anthropic": ("claude", "anthropic"),
    "google": ("gemini", "gemma", "palm", "bard", "google"),
    "meta": ("llama", "codellama", "meta"),
    "mistral": ("mistral", "mixtral", "ministral", "magistral", "codestral"),
    "alibaba": ("qwen", "qwq", "alibaba"),
    "deepseek": ("deepseek",),
    "xai": ("grok", "xai"),
    "cohere": ("command", "cohere", "aya"),
    "microsoft": ("phi", "wizardlm", "microsoft"),
    "01-ai": ("yi",),
    "amazon": ("nova", "titan", "amazon"),
    "zhipu": ("glm", "chatglm", "zhipu"),
    "moonshot": ("kimi", "moonshot"),
    "nvidia": ("nemotron", "nvidia"),
    "lmsys": ("vicuna", "koala", "fastchat"),
}
_WORD = re.compile(r"[a-z]+\d*|\d+")


def family(name: str) -> str:
    """Family of a model; its own name, in small letters, where the family is not known.

    Examples
    --------
    >>> [family(name) for name in ("gpt-4o", "openai/o3-mini", "Claude 3 Opus", "Qwen2.5-72B", "my-model")]
    ['openai', 'openai', 'anthropic', 'alibaba', 'my-model']

    A model tuned from another belongs to whom its name starts with:

    >>> family("deepseek-r1-distill-llama-70b")
    'deepseek'
    """
    plain = str(name).strip().lower()
    for word in _WORD.findall(plain):
        letters = word.rstrip("0123456789")
        for known, words in FAMILIES.items():
            if word in words or letters in words:
                return known
    return plain
