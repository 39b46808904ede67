"""Generated queries and documents with the shape of MSLR-WEB: simulated text, computed features.

A query has a few terms, each with an inverse document frequency. A document has five streams (body, anchor,
title, url, and all of it) and a hidden topical match with the query that raises how often the terms occur.
From the term counts the usual 125 text-match features follow by their textbook formulas, and 11 more
describe the document itself, so zeros, ties, heavy tails, counts and columns that are constant within a
query come about as they do in the real sets.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from numbers import Integral
from typing import Any

import numpy as np

from lambdamart_kit.core.typing import Array, Float32Array, FloatArray, IndexArray
from lambdamart_kit.datasets.dataset import RankingDataset

STREAMS = ("body", "anchor", "title", "url", "whole")
MEASURES = (
    "covered_terms",
    "covered_ratio",
    "stream_length",
    "idf",
    "tf_sum",
    "tf_min",
    "tf_max",
    "tf_mean",
    "tf_var",
    "ntf_sum",
    "ntf_min",
    "ntf_max",
    "ntf_mean",
    "ntf_var",
    "tfidf_sum",
    "tfidf_min",
    "tfidf_max",
    "tfidf_mean",
    "tfidf_var",
    "boolean",
    "vector_space",
    "bm25",
    "lm_abs",
    "lm_dir",
    "lm_jm",
)
DOCUMENT_FEATURES = (
    "url_slashes",
    "url_length",
    "inlinks",
    "outlinks",
    "pagerank",
    "siterank",
    "quality",
    "spam",
    "query_url_clicks",
    "url_clicks",
    "url_dwell_time",
)
FEATURE_NAMES = tuple(f"{m}_{s}" for m in MEASURES for s in STREAMS) + DOCUMENT_FEATURES

LABEL_SHARES = (0.52, 0.32, 0.13, 0.02, 0.01)
_MAX_TERMS = 7
_CHUNK_ROWS = 16_384  # rows simulated at a time: their temporaries stay in tens of megabytes
_AVERAGE_LENGTH = (700.0, 12.0, 8.0, 8.0, 730.0)


def make_letor(
    n_queries: int = 500,
    *,
    mean_documents: float = 120.0,
    max_documents: int = 900,
    blank_fraction: float = 0.03,
    noise: float = 1.0,
    random_state: int | np.random.Generator | None = None,
    concept_seed: int = 0,
) -> RankingDataset:
    """Generate a learning-to-rank problem with the shape of MSLR-WEB.

    136 features (25 text-match measures on 5 streams, then 11 of the document), labels 0-4 in shares of
    about 52/32/13/2/1 %, and 1 to `max_documents` documents a query (long-tailed). What
    makes a document relevant is drawn once from `concept_seed`: a function of topical match, quality and
    coverage with interactions and a switch between navigational and informational queries, plus each
    query's own difficulty and noise. Two values of `random_state` are two samples of the same population.

    Parameters
    ----------
    n_queries : int
        Queries to generate.
    mean_documents : float
        Mean documents a query, about.
    max_documents : int
        Most documents a query.
    blank_fraction : float
        Share of queries without a relevant document (small queries may come out blank besides).
    noise : float
        Standard deviation of the labels' noise, in units of its default.
    random_state : int, numpy.random.Generator or None
        Which sample. None draws a fresh one.
    concept_seed : int
        Which population.

    Returns
    -------
    RankingDataset
        ``X`` (n, 136) float32, ``y`` (n,) float32, ``qid`` (n,) int64, with feature names. Query ids count
        from 1 with ``random_state=0`` or None, and from ``1_000_000 * random_state + 1`` with another whole
        number, because samples of different seeds are different queries.

    Raises
    ------
    ValueError
        If a parameter is out of range.

    References
    ----------
    T. Qin and T.-Y. Liu, "Introducing LETOR 4.0 Datasets", arXiv:1306.2597; the features follow the list
    published with MSLR-WEB10K and MSLR-WEB30K.

    Examples
    --------
    >>> from lambdamart_kit.datasets import make_letor
    >>> data = make_letor(n_queries=20, random_state=0)
    >>> data.X.shape[1], data.X.dtype, data.queries.n_queries
    (136, dtype('float32'), 20)
    """
    _check(n_queries, mean_documents, max_documents, blank_fraction, noise)
    rng = np.random.default_rng(random_state)
    sizes = _query_sizes(rng, n_queries, mean_documents, max_documents)
    concept = _concept(int(concept_seed))
    n_samples = int(sizes.sum())
    X = np.empty((n_samples, len(FEATURE_NAMES)), dtype=np.float32)
    y = np.empty(n_samples, dtype=np.float32)
    row = 0
    for chunk in _chunks(sizes):
        stop = row + int(chunk.sum())
        world = _World.draw(rng, chunk)
        relevance = concept.relevance(world)
        y[row:stop] = concept.grade(relevance, world, rng, noise, blank_fraction)
        _text_features(world, X[row:stop])
        _document_features(world, relevance, rng, X[row:stop])
        row = stop
    first_id = 1_000_000 * int(random_state) + 1 if isinstance(random_state, Integral) else 1
    qid = np.repeat(first_id + np.arange(n_queries), sizes)
    return RankingDataset(X, y, qid, feature_names=FEATURE_NAMES)


def _check(
    n_queries: int, mean_documents: float, max_documents: int, blank_fraction: float, noise: float
) -> None:
    rules: tuple[tuple[str, Any, bool, str], ...] = (
        ("n_queries", n_queries, n_queries >= 1, "at least 1"),
        ("max_documents", max_documents, max_documents >= 1, "at least 1"),
        ("mean_documents", mean_documents, 1 <= mean_documents <= max_documents, "from 1 to 'max_documents'"),
        ("blank_fraction", blank_fraction, 0 <= blank_fraction <= 1, "from 0 to 1"),
        ("noise", noise, noise >= 0, "at least 0"),
    )
    for name, value, holds, rule in rules:
        if not holds:
            raise ValueError(f"{name!r} must be {rule}; got {value!r}")


def _query_sizes(rng: np.random.Generator, n_queries: int, mean: float, largest: int) -> IndexArray:
    """Documents a query: log-normal, and now and then a query that hardly anything matches."""
    spread = 0.6
    sizes = rng.lognormal(np.log(mean) - spread**2 / 2, spread, n_queries)
    rare = rng.random(n_queries) < 0.02
    sizes[rare] *= rng.random(int(rare.sum())) ** 2
    return np.clip(np.rint(sizes), 1, largest).astype(np.intp)


def _chunks(sizes: IndexArray) -> Iterator[IndexArray]:
    """Consecutive queries of about ``_CHUNK_ROWS`` rows; the cut depends on the sizes alone."""
    chunk_of_query = (np.cumsum(sizes) - sizes) // _CHUNK_ROWS
    yield from np.split(sizes, np.flatnonzero(np.diff(chunk_of_query)) + 1)


@dataclass(frozen=True)
class _World:
    """Some queries and their documents, before anything is measured (axis 0 documents, 1 terms)."""

    sizes: IndexArray
    query: IndexArray  # (rows,) index of the row's query
    n_terms: Array  # (rows,)
    idf: FloatArray  # (rows, terms); 0 beyond the query's last term
    navigational: FloatArray  # (rows,) 0 = informational ... 1 = looks for one site
    match: FloatArray  # (rows,) hidden topical match, standard normal
    quality: FloatArray  # (rows,) hidden quality, standard normal
    spam: FloatArray  # (rows,) keyword stuffing, 0 for most
    popularity: FloatArray  # (rows,) standard normal
    length: Array  # (rows, 5) tokens a stream
    tf: Array  # (rows, terms, 5) occurrences

    @classmethod
    def draw(cls, rng: np.random.Generator, sizes: IndexArray) -> _World:
        query = np.repeat(np.arange(len(sizes)), sizes)
        n_terms = np.clip(1 + rng.poisson(1.9, len(sizes)), 1, _MAX_TERMS)
        term = np.arange(_MAX_TERMS)
        rarity = np.clip(rng.gamma(4.0, 1.3, (len(sizes), _MAX_TERMS)), 0.5, 14)
        idf = np.where(term < n_terms[:, None], rarity, 0)
        navigational = rng.beta(0.6, 1.6, len(sizes))
        topicality = rng.normal(0, 0.35, len(sizes))  # some queries are easier to match than others
        rows = len(query)
        quality, popularity, noise = rng.standard_normal((3, rows))
        popularity = 0.6 * quality + 0.8 * popularity
        match = rng.standard_normal(rows)
        spam = np.where(rng.random(rows) < 0.15, rng.exponential(1.2, rows), 0.0)
        length = np.empty((rows, 5), dtype=np.int64)
        length[:, 0] = rng.lognormal(6.1 + 0.25 * quality, 0.95)
        anchored = rng.random(rows) < 0.28 + 0.08 * np.clip(popularity, -2, 2)
        length[:, 1] = anchored * np.ceil(rng.lognormal(1.0 + 0.6 * popularity, 0.9))
        length[:, 2] = rng.poisson(7.5, rows) * (rng.random(rows) > 0.02)
        length[:, 3] = 2 + rng.poisson(5.5, rows)
        tf = cls._occurrences(rng, idf[query], length, match + topicality[query] + 0.3 * noise, spam)
        length[:, 4] = length[:, :4].sum(axis=1)
        of_query = (n_terms[query], idf[query], navigational[query])
        return cls(sizes, query, *of_query, match, quality, spam, popularity, length, tf)

    @staticmethod
    def _occurrences(
        rng: np.random.Generator, idf: FloatArray, length: Array, match: FloatArray, spam: FloatArray
    ) -> Array:
        """Poisson counts whose rates rise with the match, with stuffing, and fall with the term's rarity."""
        rows, terms = idf.shape
        present = idf > 0
        burst = rng.gamma(1.4, 1 / 1.4, (rows, terms))  # one burst a term: streams of a document agree
        common = np.exp(-0.17 * (idf - 5)) * present * burst
        rate = np.empty((rows, terms, 4))
        body = 6.5 * (length[:, 0] / 500.0) ** 0.55 * np.exp(0.75 * match + 0.9 * spam)
        rate[:, :, 0] = body[:, None] * common
        rate[:, :, 1] = (0.10 * length[:, 1] * np.exp(0.6 * match))[:, None] * common
        rate[:, :, 2] = (0.085 * length[:, 2] * np.exp(0.65 * match + 0.2 * spam))[:, None] * common
        rate[:, :, 3] = (0.030 * length[:, 3] * np.exp(0.55 * match))[:, None] * common
        # A term that could occur often does not: another word was used.
        rate *= rng.random((rows, terms, 1)) < 1 / (1 + np.exp(-1.6 - 1.0 * match))[:, None, None]
        ceiling = length[:, None, :4] / np.maximum(present.sum(axis=1), 1)[:, None, None]
        counts = np.minimum(rng.poisson(np.minimum(rate, 0.6 * ceiling)), np.ceil(ceiling).astype(np.int64))
        counts = np.minimum(counts, length[:, None, :4])
        return np.concatenate((counts, counts.sum(axis=2, keepdims=True)), axis=2)


@dataclass(frozen=True)
class _Concept:
    """What makes a document relevant: weights of named effects, and where the grades are cut."""

    weights: FloatArray
    directions: FloatArray
    cuts: FloatArray

    def effects(self, world: _World) -> FloatArray:
        """(rows, effects): each about standard, and most of them not linear in any feature."""
        title = (world.tf[:, :, 2] > 0).sum(axis=1) / world.n_terms
        url = (world.tf[:, :, 3] > 0).sum(axis=1) / world.n_terms
        anchor = np.log1p(world.tf[:, :, 1].sum(axis=1))
        covered = (world.tf[:, :, 0] > 0).sum(axis=1) / world.n_terms
        density = np.log1p(100 * world.tf[:, :, 0].sum(axis=1) / (1 + world.length[:, 0]))
        match, quality, navigational = world.match, world.quality, world.navigational
        return np.stack(
            [
                match,
                np.tanh(match) * quality,
                np.where(covered == 1, 1.0, -1.0) * (world.n_terms > 1),
                2 * title * (1 - navigational) * np.tanh(1 + quality),
                5 * (url - 0.2) * navigational,
                2 * navigational * np.tanh(anchor) * (world.popularity > 0),
                -world.spam * (density > 1.5),
                -np.abs(np.log(1 + world.length[:, 0]) - 6.3) * (1 - navigational),
                np.maximum(world.popularity, 0) * (match > 0),
            ],
            axis=1,
        )

    def relevance(self, world: _World) -> FloatArray:
        """The noiseless score: weighted effects, and a few random sigmoid units of pairs of them."""
        effects = self.effects(world)
        wiggle = np.tanh(effects @ self.directions).sum(axis=1)
        score: FloatArray = effects @ self.weights + 0.45 * wiggle
        return score

    def grade(
        self,
        relevance: FloatArray,
        world: _World,
        rng: np.random.Generator,
        noise: float,
        blank_fraction: float,
    ) -> FloatArray:
        """Labels 0-4: relevance plus the query's own level and a judge's noise, cut at fixed points."""
        level, care = _query_level(rng, len(world.sizes))
        level[rng.random(len(level)) < blank_fraction] = -np.inf
        judge = noise * care[world.query] * rng.standard_normal(len(relevance))
        judged = relevance + level[world.query] + judge
        return np.searchsorted(self.cuts, judged).astype(np.float64)


def _query_level(rng: np.random.Generator, n_queries: int) -> tuple[FloatArray, FloatArray]:
    """How rich in relevant documents a query is, and the noise of its judge."""
    return rng.normal(0, 0.8, n_queries), rng.lognormal(-0.1, 0.35, n_queries)


@lru_cache(maxsize=8)
def _concept(seed: int) -> _Concept:
    """The concept of a seed; its cuts give ``LABEL_SHARES`` on a reference sample at the default noise."""
    rng = np.random.default_rng([seed, 0x1E70])
    weights = np.array([0.55, 0.40, 0.30, 0.55, 0.45, 0.60, 0.45, 0.35, 0.35]) * rng.uniform(0.7, 1.3, 9)
    directions = rng.normal(0, 0.7, (9, 4)) * (rng.random((9, 4)) < 0.35)
    free = _Concept(weights, directions, np.empty(0))
    world = _World.draw(rng, np.full(400, 30))
    level, care = (np.repeat(of_query, 30) for of_query in _query_level(rng, 400))
    judged = free.relevance(world) + level + care * rng.standard_normal(len(level))
    return _Concept(weights, directions, np.quantile(judged, np.cumsum(LABEL_SHARES)[:-1]))


def _text_features(world: _World, out: Float32Array) -> None:
    """The 25 measures of each stream, into columns ``measure * 5 + stream``."""
    L = world.n_terms
    inside = np.arange(_MAX_TERMS) < L[:, None]
    for s in range(5):
        # MSLR counts document frequencies in each stream, so a term is rarer in titles than in bodies.
        idf = world.idf * inside + np.where(inside, (0.0, 4.0, 3.5, 4.2, 0.0)[s], 0.0)
        tf = world.tf[:, :, s].astype(np.float64)
        length = world.length[:, s].astype(np.float64)
        covered = (tf > 0).sum(axis=1)
        columns = [covered, covered / L, length, idf.sum(axis=1)]
        columns += _five(tf, inside, L)
        columns += _five(tf / np.maximum(length, 1)[:, None], inside, L)
        columns += _five(tf * idf, inside, L)
        columns += [1.0 * (covered == L), _cosine(tf, idf), _bm25(tf, idf, length, _AVERAGE_LENGTH[s])]
        columns += _language_models(tf, idf, length, inside)
        for measure, column in enumerate(columns):
            out[:, measure * 5 + s] = np.round(column, 6)


def _five(values: FloatArray, inside: Array, n_terms: Array) -> list[FloatArray]:
    """Sum, min, max, mean and variance over the query's terms."""
    total = values.sum(axis=1)
    mean = total / n_terms
    lowest = np.where(inside, values, np.inf).min(axis=1)
    variance = (np.where(inside, values - mean[:, None], 0.0) ** 2).sum(axis=1) / n_terms
    return [total, lowest, values.max(axis=1), mean, variance]


def _cosine(tf: FloatArray, idf: FloatArray) -> FloatArray:
    """Cosine of the query's idf vector and the document's tf-idf vector, over the query's terms."""
    weights = tf * idf
    norm = np.sqrt((weights**2).sum(axis=1) * (idf**2).sum(axis=1))
    similarity: FloatArray = (weights * idf).sum(axis=1) / np.where(norm > 0, norm, 1.0)
    return similarity


def _bm25(tf: FloatArray, idf: FloatArray, length: FloatArray, average: float) -> FloatArray:
    """Okapi BM25 with k1 = 1.2 and b = 0.75."""
    saturation = 1.2 * (0.25 + 0.75 * length / average)
    score: FloatArray = (idf * tf * 2.2 / (tf + saturation[:, None])).sum(axis=1)
    return score


def _language_models(tf: FloatArray, idf: FloatArray, length: FloatArray, inside: Array) -> list[FloatArray]:
    """Query log likelihood, smoothed by absolute discounting, Dirichlet and Jelinek-Mercer; 0 for no text."""
    collection = np.exp(-idf) / np.where(idf < 5, 30.0, 300.0)
    n = np.maximum(length, 1)[:, None]
    distinct = (tf > 0).sum(axis=1)[:, None]
    models = (
        np.maximum(tf - 0.7, 0) / n + (0.7 * distinct / n + 1e-4) * collection,
        (tf + 200 * collection) / (n + 200),
        0.9 * tf / n + 0.1 * collection,
    )
    has_text = length > 0
    return [np.where(has_text, np.where(inside, np.log(p), 0.0).sum(axis=1), 0.0) for p in models]


def _document_features(
    world: _World, relevance: FloatArray, rng: np.random.Generator, out: Float32Array
) -> None:
    """The last 11 columns: shape of the URL, links, ranks of page and site, quality, clicks."""
    rows = len(relevance)
    popularity, quality = world.popularity, world.quality
    slashes = 1 + rng.poisson(1.6, rows)
    linked = rng.random(rows) < 0.66 + 0.1 * np.clip(popularity, -2, 2)
    inlinks = linked * rng.lognormal(2.6 + 1.3 * popularity, 2.2)
    outlinks = (rng.random(rows) < 0.53) * rng.lognormal(1.0, 1.5, rows)
    ranks = rng.standard_normal((2, rows)) * 0.8 + (0.8 * popularity, 0.5 * popularity)
    pagerank = 65_535 / (1 + np.exp(1.6 - 1.6 * ranks[0]))
    siterank = 65_535 / (1 + np.exp(-0.3 - 1.6 * ranks[1]))
    good = 250 / (1 + np.exp(3.2 - 1.1 * quality - 0.9 * rng.standard_normal(rows)))
    bad = 250 / (1 + np.exp(3.2 + 0.5 * quality - 1.2 * world.spam - 0.9 * rng.standard_normal(rows)))
    # Clicks are rare and come with relevance, which makes them the sharpest signal where there are any.
    clicked = rng.random(rows) < 0.025 * np.exp(np.clip(0.9 * relevance, -4, 3))
    clicks = clicked * rng.lognormal(0.8 + 0.5 * relevance, 1.4)
    visited = clicked | (rng.random(rows) < 0.22 + 0.08 * np.clip(popularity, -2, 2))
    url_clicks = clicks + visited * rng.lognormal(2.0 + popularity, 1.9)
    dwell = visited * rng.lognormal(3.0 + 0.35 * np.clip(relevance, -3, 3) + 0.3 * quality, 1.1)
    url_length = 10 + slashes * rng.gamma(3.0, 4.0, rows)
    counts: list[Array] = [slashes, url_length, inlinks, outlinks, pagerank, siterank]
    counts += [1 + good, 1 + bad, np.ceil(clicks), np.ceil(url_clicks)]
    for offset, column in enumerate(counts):
        out[:, 125 + offset] = np.floor(column)
    out[:, 135] = np.round(dwell, 6)


def load_sample() -> RankingDataset:
    """The built-in sample: 300 generated queries, the same on every call.

    It is generated, not stored, so a NumPy release that changes its random streams may change it.

    Returns
    -------
    RankingDataset
        Made by :func:`make_letor`.

    Examples
    --------
    >>> from lambdamart_kit.datasets import load_sample
    >>> load_sample().queries.n_queries
    300
    """
    return make_letor(n_queries=300, random_state=0)
