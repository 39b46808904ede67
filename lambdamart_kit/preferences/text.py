"""Features of responses from their text: honest hand features, TF-IDF with SVD, sentence embeddings.

Each is a scikit-learn transformer over the frame ``PreferencePairs.texts`` (columns ``prompt`` and
``response``), for ``RewardModel(features=...)`` or ``PreferencePairs.with_features``.
"""

from __future__ import annotations

import importlib
import re
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

from lambdamart_kit.core.typing import Array, Features, Float32Array

_WORD = re.compile(r"\w+")
_SENTENCE = re.compile(r"[.!?]+(?:\s|$)|\n+")
_VOWELS = re.compile(r"[aeiouyäöüàâéèêëîïôûAEIOUY]+")


class TextFeatures(TransformerMixin, BaseEstimator):
    """Features anyone can check by hand: length, overlap with the prompt, diversity, form, readability.

    Attributes
    ----------
    None: nothing is learned from data.

    Examples
    --------
    >>> texts = pd.DataFrame({"prompt": ["Name a fruit"], "response": ["A fruit: the apple."]})
    >>> row = dict(zip(TextFeatures.names, TextFeatures().fit_transform(texts)[0].round(3).tolist()))
    >>> row["words"], row["words_from_prompt"], row["distinct_words"]
    (4.0, 0.5, 1.0)
    """

    uses_prompt: ClassVar[bool] = True
    names: ClassVar[tuple[str, ...]] = (
        "log_characters",
        "words",
        "log_words",
        "sentences",
        "words_per_sentence",
        "characters_per_word",
        "long_words",
        "distinct_words",
        "repeated_trigrams",
        "prompt_words_covered",
        "words_from_prompt",
        "flesch_reading_ease",
        "paragraphs",
        "list_items",
        "headings",
        "code_blocks",
        "links",
        "digits",
        "capitals",
        "punctuation",
        "questions",
        "exclamations",
    )

    def fit(self, texts: pd.DataFrame, y: Any = None) -> TextFeatures:
        """Learn nothing.

        Parameters
        ----------
        texts : DataFrame
            Columns ``prompt`` and ``response``, one row a response.
        y : object
            Not used.

        Returns
        -------
        TextFeatures
            The transformer itself.
        """
        _columns(texts)
        return self

    def transform(self, texts: pd.DataFrame) -> Float32Array:
        """Features of each response, (n_responses, 22) float32.

        Parameters
        ----------
        texts : DataFrame
            Columns ``prompt`` and ``response``, one row a response.

        Returns
        -------
        (n_responses, 22) float32
            Columns as `get_feature_names_out` names them.
        """
        prompts, responses = _columns(texts)
        words_of: dict[str, set[str]] = {}
        rows = np.empty((len(responses), len(self.names)), dtype=np.float32)
        for i, (prompt, response) in enumerate(zip(prompts, responses)):
            if prompt not in words_of:
                words_of[prompt] = {w.lower() for w in _WORD.findall(prompt)}
            rows[i] = _describe(response, words_of[prompt])
        return rows

    def get_feature_names_out(self, input_features: Any = None) -> Array:
        """Names of the features.

        Parameters
        ----------
        input_features : object
            Not used.

        Returns
        -------
        (22,) array of str
            In the order of the columns.
        """
        return np.array(self.names, dtype=object)

    def __sklearn_is_fitted__(self) -> bool:
        return True


def _describe(text: str, prompt_words: set[str]) -> tuple[float, ...]:
    words = [w.lower() for w in _WORD.findall(text)]
    n_words, n_characters = max(1, len(words)), max(1, len(text))
    distinct = set(words)
    sentences = max(1, sum(1 for part in _SENTENCE.split(text) if part.strip()))
    letters = sum(map(len, words)) / n_words
    trigrams = list(zip(words, words[1:], words[2:]))
    syllables = sum(max(1, len(_VOWELS.findall(w))) for w in words) / n_words
    lines = text.splitlines()
    return (
        np.log1p(len(text)),
        len(words),
        np.log1p(len(words)),
        sentences,
        n_words / sentences,
        letters,
        sum(len(w) > 6 for w in words) / n_words,
        len(distinct) / n_words,
        1.0 - len(set(trigrams)) / len(trigrams) if trigrams else 0.0,
        len(distinct & prompt_words) / len(prompt_words) if prompt_words else 0.0,
        sum(w in prompt_words for w in words) / n_words,
        206.835 - 1.015 * n_words / sentences - 84.6 * syllables,
        text.count("\n\n") + 1,
        sum(bool(re.match(r"\s*([-*•]|\d+[.)])\s", line)) for line in lines),
        sum(line.lstrip().startswith("#") for line in lines),
        text.count("```") // 2,
        text.count("http"),
        sum(c.isdigit() for c in text) / n_characters,
        sum(c.isupper() for c in text) / n_characters,
        sum(not c.isalnum() and not c.isspace() for c in text) / n_characters,
        text.count("?"),
        text.count("!"),
    )


class TfidfFeatures(TransformerMixin, BaseEstimator):
    """TF-IDF of the responses, reduced by SVD: latent semantic analysis.

    Parameters
    ----------
    n_components : int
        Dimensions kept; fewer when there are fewer terms or responses.
    max_features : int
        Terms kept, the most frequent.
    random_state : int
        For the randomised SVD.

    Attributes
    ----------
    vectorizer_ : TfidfVectorizer
        The terms and their weights.
    svd_ : TruncatedSVD or None
        The subspace of the terms.

    References
    ----------
    Deerwester et al. (1990), "Indexing by latent semantic analysis", JASIS 41.

    Examples
    --------
    >>> texts = pd.DataFrame({"prompt": ["p"] * 3, "response": ["a red apple", "a blue sea", "the red sea"]})
    >>> TfidfFeatures(n_components=2).fit_transform(texts).shape
    (3, 2)
    """

    uses_prompt: ClassVar[bool] = True

    def __init__(self, n_components: int = 100, *, max_features: int = 50_000, random_state: int = 0) -> None:
        self.n_components = n_components
        self.max_features = max_features
        self.random_state = random_state

    def fit(self, texts: pd.DataFrame, y: Any = None) -> TfidfFeatures:
        """Learn the terms and the subspace.

        Parameters
        ----------
        texts : DataFrame
            Columns ``prompt`` and ``response``, one row a response.
        y : object
            Not used.

        Returns
        -------
        TfidfFeatures
            The fitted transformer itself.
        """
        _, responses = _columns(texts)
        self.vectorizer_ = TfidfVectorizer(
            sublinear_tf=True, max_features=self.max_features, ngram_range=(1, 2), dtype=np.float32
        )
        terms = self.vectorizer_.fit_transform(responses)
        n_components = min(self.n_components, min(terms.shape) - 1)
        if n_components < 1:
            raise ValueError("TF-IDF with SVD needs at least two responses and two terms")
        self.svd_ = TruncatedSVD(n_components, random_state=self.random_state).fit(terms)
        return self

    def transform(self, texts: pd.DataFrame) -> Float32Array:
        """Coordinates of each response, (n_responses, n_components) float32.

        Parameters
        ----------
        texts : DataFrame
            Columns ``prompt`` and ``response``, one row a response.

        Returns
        -------
        (n_responses, n_components) float32
            In the order of the rows.
        """
        _, responses = _columns(texts)
        return np.asarray(self.svd_.transform(self.vectorizer_.transform(responses)), dtype=np.float32)


class SentenceEmbeddings(TransformerMixin, BaseEstimator):
    """Embeddings of prompt and response by a sentence-transformers model of the user's choice.

    Needs ``pip install "lambdamart-kit[embeddings]"``.

    Parameters
    ----------
    model : str
        Name or path that ``sentence_transformers.SentenceTransformer`` takes.
    batch_size : int
        Texts that are embedded at a time.

    Raises
    ------
    ImportError
        At the first transform, if sentence-transformers is not installed.

    Examples
    --------
    >>> embeddings = SentenceEmbeddings("all-MiniLM-L6-v2", batch_size=16)
    >>> texts = pd.DataFrame({"prompt": ["2+2?"], "response": ["4"]})
    >>> embeddings.transform(texts).shape  # doctest: +SKIP
    (1, 384)
    """

    uses_prompt: ClassVar[bool] = True

    def __init__(self, model: str, *, batch_size: int = 64) -> None:
        self.model = model
        self.batch_size = batch_size

    def fit(self, texts: pd.DataFrame, y: Any = None) -> SentenceEmbeddings:
        """Learn nothing.

        Parameters
        ----------
        texts : DataFrame
            Columns ``prompt`` and ``response``, one row a response.
        y : object
            Not used.

        Returns
        -------
        SentenceEmbeddings
            The transformer itself.
        """
        return self

    def transform(self, texts: pd.DataFrame) -> Float32Array:
        """Embedding of "prompt, blank line, response" of each row, (n_responses, dimension) float32.

        Parameters
        ----------
        texts : DataFrame
            Columns ``prompt`` and ``response``, one row a response.

        Returns
        -------
        (n_responses, dimension) float32
            In the order of the rows.
        """
        try:
            encoders = importlib.import_module("sentence_transformers")
        except ImportError:
            raise ImportError(
                "sentence embeddings need sentence-transformers; install it with: "
                'pip install "lambdamart-kit[embeddings]"'
            ) from None
        prompts, responses = _columns(texts)
        joined = [f"{p}\n\n{r}" for p, r in zip(prompts, responses)]
        encoder = encoders.SentenceTransformer(self.model)
        return np.asarray(encoder.encode(joined, batch_size=self.batch_size), dtype=np.float32)

    def __sklearn_is_fitted__(self) -> bool:
        return True


def make_extractor(features: Features) -> Any:
    """Transformer for ``"text"``, ``"tfidf"``, ``"embeddings:MODEL"``, or the transformer given.

    Raises
    ------
    ValueError
        If `features` is another word.
    """
    if not isinstance(features, str):
        return features
    if features == "text":
        return TextFeatures()
    if features == "tfidf":
        return TfidfFeatures()
    if features.startswith("embeddings:"):
        return SentenceEmbeddings(features.removeprefix("embeddings:"))
    raise ValueError(
        f"'features' must be 'text', 'tfidf', 'embeddings:MODEL' or a transformer; got {features!r}"
    )


def _columns(texts: Any) -> tuple[list[str], list[str]]:
    if not isinstance(texts, pd.DataFrame) or not {"prompt", "response"} <= set(texts.columns):
        raise ValueError("'texts' must be a DataFrame with columns 'prompt' and 'response'")
    return texts["prompt"].tolist(), texts["response"].tolist()
