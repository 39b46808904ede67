"""Compare rankers honestly: the same folds, the same budget, paired tests by query."""

from lambdamart_kit.bench.comparison import Comparison, compare
from lambdamart_kit.bench.models import Candidate
from lambdamart_kit.bench.report import Report, summarise
from lambdamart_kit.bench.results import ResultsFile, Run
from lambdamart_kit.bench.runner import Options, run_benchmark

__all__ = [
    "Candidate",
    "Comparison",
    "Options",
    "Report",
    "ResultsFile",
    "Run",
    "compare",
    "run_benchmark",
    "summarise",
]
