"""A C file without dependencies: one function that scores a row.

The trees are tables that a loop walks, so that large models compile in no time and deep trees need no
nesting. Thresholds stay float64 and leaf values are summed in float64, as in the ranker. A missing value is a
NaN.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from lambdamart_kit.core.typing import Array, Float32Array, FloatArray
from lambdamart_kit.export.format import ExportOptions, Format, Written
from lambdamart_kit.export.model import Exportable, InputScaling, LinearSum, TreeSum
from lambdamart_kit.export.thresholds import with_finite_thresholds

_A_LINE = 8  # entries of an array on a line

_HEAD = """\
/* Written by lambdamart_kit. The score of a row is {name}_score(x): x holds {n} features in the order of
   {name}_feature_names, and NaN where a value is missing. Higher scores rank first. */
#ifdef __FAST_MATH__
#error "compile without -ffast-math: it breaks NaN, which stands for a missing value"
#endif
#if defined(__FLT_EVAL_METHOD__) && __FLT_EVAL_METHOD__ == 2
#error "compile for float and double arithmetic (-msse2), not for that of the x87"
#endif
{includes}
#define {upper}_N_FEATURES {n}

const char *const {name}_feature_names[{n}] = {{
{names}
}};
"""

_WALK = """
/* One entry a node: the feature it looks at; 1 if a missing value goes left, plus 2 if it looks for a
   category; the threshold (x <= threshold goes left) or the first word of the categories that go left; how
   many words these are; and the children: a node, or -1 - leaf. */
static const int features[] = {{{features}}};
static const unsigned char kinds[] = {{{kinds}}};
static const double thresholds[] = {{{thresholds}}};
static const int n_words[] = {{{n_words}}};
static const unsigned words[] = {{{words}}};
static const int lefts[] = {{{lefts}}};
static const int rights[] = {{{rights}}};
static const double values[] = {{{values}}};
static const int roots[] = {{{roots}}};

static int in_set(double code, int first_word, int n) {{
  int bit;
  if (!(code >= 0.0 && code < 32.0 * n)) return 0;
  bit = (int)code;
  return (int)((words[first_word + (bit >> 5)] >> (bit & 31)) & 1u);
}}

double {name}_score(const double *x) {{
  double score = 0.0;
  int tree;
  for (tree = 0; tree < {n_trees}; ++tree) {{
    int node = roots[tree];
    while (node >= 0) {{
      const double value = x[features[node]];
      int goes_left;
      if (value != value)
        goes_left = kinds[node] & 1;
      else if (kinds[node] & 2)
        goes_left = in_set(value, (int)thresholds[node], n_words[node]);
      else
        goes_left = value <= thresholds[node];
      node = goes_left ? lefts[node] : rights[node];
    }}
    score += values[-1 - node];
  }}
  return score;
}}
"""

_LINEAR = """
static const float means[{n}] = {{{means}}};
static const float scales[{n}] = {{{scales}}};
static const double weights[{n}] = {{{weights}}};

double {name}_score(const double *x) {{
  double score = 0.0;
  int j;
  for (j = 0; j < {n}; ++j) {{
    float t = (float)x[j];
    {bend}t = (t - means[j]) / scales[j];
    if (t == t) score += (double)t * weights[j];
  }}
  return score + {constant};
}}
"""


class CSource(Format):
    """A C89 file with ``double <name>_score(const double *x)``."""

    title = "C"
    holds = (TreeSum, LinearSum)
    holds_categories = True

    def write(self, model: Exportable, options: ExportOptions) -> Written:
        """The source."""
        name = options.name
        quoted = [f'  "{_escaped(feature)}"' for feature in model.feature_names]
        bent = isinstance(model, LinearSum) and model.inputs.kind == "log1p"
        head = _HEAD.format(
            name=name,
            upper=name.upper(),
            n=len(quoted),
            names=",\n".join(quoted),
            includes="#include <math.h> /* link with -lm */\n" if bent else "",
        )
        if isinstance(model, LinearSum):
            return Written((head + _linear(model, name)).encode())
        assert isinstance(model, TreeSum)
        return Written((head + _trees(model, name)).encode())

    def scores(self, content: bytes, X: Float32Array, feature_names: Sequence[str]) -> FloatArray:
        """Scores of the compiled file."""
        compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
        if compiler is None:
            raise OSError("checking a C file needs a C compiler (cc, gcc or clang) on the PATH")
        source = content.decode()
        name = source.partition("_score(x)")[0].rpartition(" ")[2]
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "model.c").write_text(source)
            target = str(Path(folder) / "model.so")
            command = [compiler, "-O1", "-shared", "-fPIC", "-o", target, "model.c", "-lm"]
            subprocess.run(command, check=True, cwd=folder, capture_output=True)
            function = getattr(ctypes.CDLL(target), f"{name}_score")
        function.restype = ctypes.c_double
        rows = np.ascontiguousarray(X, dtype=np.float64)
        pointer = ctypes.POINTER(ctypes.c_double)
        return np.array([function(row.ctypes.data_as(pointer)) for row in rows], dtype=np.float64)


def _escaped(name: str) -> str:
    """A name inside a C string."""
    return name.replace("\\", "\\\\").replace('"', '\\"')


def _trees(model: TreeSum, name: str) -> str:
    """All trees in one numbering of nodes, and one of leaves."""
    trees = [with_finite_thresholds(tree) for tree in model.folded().trees]
    first_node = np.cumsum([0, *(tree.n_nodes for tree in trees)])
    first_leaf = np.cumsum([0, *(len(tree.value) for tree in trees)])
    words: list[Array] = []
    n_words: list[int] = []
    thresholds: list[float] = []
    for tree in trees:
        for threshold, codes in zip(tree.threshold.tolist(), tree.categories):
            thresholds.append(threshold if codes is None else float(sum(map(len, words))))
            if codes is not None:
                words.append(_words(codes))
            n_words.append(0 if codes is None else len(words[-1]))

    def children(name: str) -> Array:
        parts = [
            np.where(child < 0, child - leaf, child + node)
            for child, node, leaf in zip((getattr(t, name) for t in trees), first_node, first_leaf)
        ]
        return np.concatenate(parts)

    roots = [node if tree.n_nodes else -1 - leaf for tree, node, leaf in zip(trees, first_node, first_leaf)]
    is_set = np.array([count > 0 for count in n_words], dtype=np.int64)
    missing_left = np.concatenate([tree.missing_left for tree in trees])
    return _WALK.format(
        name=name,
        n_trees=len(trees),
        features=_table(np.concatenate([tree.feature for tree in trees])),
        kinds=_table(missing_left + 2 * is_set),
        thresholds=_table(map(_double, thresholds)),
        n_words=_table(n_words),
        words=_table(f"{word}u" for word in np.concatenate([np.empty(0, int), *words]).tolist()),
        lefts=_table(children("left")),
        rights=_table(children("right")),
        values=_table(map(_double, np.concatenate([tree.value for tree in trees]).tolist())),
        roots=_table(roots),
    )


def _table(entries: Iterable[object]) -> str:
    """Entries of an array, a few on a line; C has no empty arrays, so none is one zero."""
    texts = [str(entry) for entry in entries] or ["0"]
    lines = [", ".join(texts[at : at + _A_LINE]) for at in range(0, len(texts), _A_LINE)]
    return "\n  " + ",\n  ".join(lines)


def _words(codes: Array) -> Array:
    bits = np.zeros((int(codes.max(initial=0)) // 32 + 1) * 32, dtype=np.uint8)
    bits[codes] = 1
    return np.packbits(bits, bitorder="little").view("<u4")


def _double(value: float) -> str:
    """A C constant that is exactly this number."""
    text = repr(value)
    return text if any(c in text for c in ".en") else f"{text}.0"


def _linear(model: LinearSum, name: str) -> str:
    inputs: InputScaling = model.inputs
    bend = "t = t < 0 ? -log1pf(-t) : log1pf(t);\n    " if inputs.kind == "log1p" else ""
    return _LINEAR.format(
        name=name,
        n=len(model.weights),
        means=", ".join(f"{_double(float(np.float32(m)))}f" for m in inputs.mean),
        scales=", ".join(f"{_double(float(np.float32(s)))}f" for s in inputs.scale),
        weights=", ".join(map(_double, model.weights.tolist())),
        constant=_double(model.constant),
        bend=bend,
    )
