"""TREC's files, and trec_eval's measures in trec_eval's conventions, beside the kit's own metrics."""

from lambdamart_kit.trec.evaluation import QueryValues, evaluate_run
from lambdamart_kit.trec.files import (
    Qrels,
    RunFile,
    is_qrels,
    is_run,
    load_qrels,
    read_qrels,
    read_run,
    write_run,
)
from lambdamart_kit.trec.measures import MEASURES, TrecMeasure, is_trec_name, parse_measures

__all__ = [
    "MEASURES",
    "Qrels",
    "QueryValues",
    "RunFile",
    "TrecMeasure",
    "evaluate_run",
    "is_qrels",
    "is_run",
    "is_trec_name",
    "load_qrels",
    "parse_measures",
    "read_qrels",
    "read_run",
    "write_run",
]
