"""A C file without dependencies: one function that scores a row.

Thresholds stay float64 and leaf values are summed in float64, as in the ranker. A missing value is a NaN.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lambdamart_kit.core.typing import Array, Float32Array, FloatArray
from lambdamart_kit.export.format import Format, Options, Written
from lambdamart_kit.export.model import Exportable, InputScaling, LinearSum, TreeSum
from lambdamart_kit.export.thresholds import with_finite_thresholds
from lambdamart_kit.trees.plain_tree import PlainTree

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

_IN_SET = """
static int in_set(double x, const unsigned *words, int n_words) {
  int code;
  if (!(x >= 0.0 && x < 32.0 * n_words)) return 0;
  code = (int)x;
  return (int)((words[code >> 5] >> (code & 31)) & 1u);
}
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

    def write(self, model: Exportable, options: Options) -> Written:
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
        trees = [with_finite_thresholds(tree) for tree in model.trees]
        parts = [head]
        if any(tree.has_categories for tree in trees):
            parts.append(_IN_SET)
        parts += [_function(tree, number) for number, tree in enumerate(trees)]
        terms = "".join(f"  score += tree_{number}(x);\n" for number in range(len(trees)))
        parts.append(
            f"\ndouble {name}_score(const double *x) {{\n  double score = 0.0;\n{terms}  return score;\n}}\n"
        )
        return Written("".join(parts).encode())

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


def _function(tree: PlainTree, number: int) -> str:
    lines: list[str] = []

    def add(node: int, indent: str) -> None:
        if node < 0:
            lines.append(f"{indent}return {_double(float(tree.value[~node]))};")
            return
        test, table = _test(tree, node, number)
        lines.extend(f"  {line}" for line in table)
        lines.append(f"{indent}if ({test}) {{")
        add(int(tree.left[node]), indent + "  ")
        lines.append(f"{indent}}} else {{")
        add(int(tree.right[node]), indent + "  ")
        lines.append(f"{indent}}}")

    add(0 if tree.n_nodes else ~0, "  ")
    tables = [line for line in lines if line.startswith("  static const unsigned")]
    body = [line for line in lines if not line.startswith("  static const unsigned")]
    unused = [] if tree.n_nodes else ["  (void)x;"]
    return "\n".join([f"\nstatic double tree_{number}(const double *x) {{", *tables, *unused, *body, "}", ""])


def _test(tree: PlainTree, node: int, number: int) -> tuple[str, list[str]]:
    """The condition of going left, and the table it needs."""
    x = f"x[{int(tree.feature[node])}]"
    codes = tree.categories[node]
    missing_left = bool(tree.missing_left[node])
    if codes is None:
        threshold = _double(float(tree.threshold[node]))
        return (f"!({x} > {threshold})" if missing_left else f"{x} <= {threshold}"), []
    words = _words(codes)
    table = f"set_{number}_{node}"
    listed = ", ".join(f"{word}u" for word in words.tolist())
    test = f"in_set({x}, {table}, {len(words)})"
    declared = f"static const unsigned {table}[{len(words)}] = {{{listed}}};"
    return (f"{x} != {x} || {test}" if missing_left else test), [declared]


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
