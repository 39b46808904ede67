"""How fast, and in how much memory, is a LETOR file read, against scikit-learn's `load_svmlight_file`?

    python benchmarks/letor_parsing.py                      # 260 MB, about two minutes
    python benchmarks/letor_parsing.py --quick              # 20 MB
    python benchmarks/letor_parsing.py --real FILE ...      # files of your own as well

Each reader has a process to itself, which reads a tiny file (imports, kernels from the disk cache), then the
file four times. The first read is shown apart, because memory is then new to the process, and scikit-learn,
which grows its arrays, can be several times slower; the ratio is that of the medians of the other three. Peak
memory is the growth of the peak resident set over the first read, as a multiple of the array that is returned
(for scikit-learn: CSR).
"""  # noqa: D400

from __future__ import annotations

import argparse
import datetime
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

TINY = "1 qid:1 1:0.5 2:3\n0 qid:1 1:0.25 2:1\n"

MEASURE = """
import sys, time
from pathlib import Path
reader, tiny, path = sys.argv[1:]

if reader == "scikit-learn":
    import numpy as np
    from sklearn.datasets import load_svmlight_file
    def read(path):
        X, y, qid = load_svmlight_file(path, dtype=np.float32, query_id=True)
        return X.data.nbytes + X.indices.nbytes + X.indptr.nbytes
else:
    from lambdamart_kit.datasets import read_letor
    threads, cached = int(reader.split()[0]), "cache" in reader
    def read(path):
        return read_letor(path, n_jobs=threads, cache=cached).X.nbytes

def memory(field):
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in status if field in line)

def timed():
    start = time.perf_counter()
    n_bytes = read(path)
    return time.perf_counter() - start, n_bytes

read(tiny)
Path("/proc/self/clear_refs").write_text("5")  # peak := present
before = memory("VmRSS")
first, n_bytes = timed()
peak = (memory("VmHWM") - before) / n_bytes
print(first, peak, *(timed()[0] for _ in range(3)))
"""

READERS = ("scikit-learn", "1 thread", "2 threads", "2 threads, from cache")


def measure(reader: str, tiny: Path, path: Path) -> tuple[float, float, float]:
    """Seconds of the first read, peak memory, median seconds of later reads."""
    command = [sys.executable, "-c", MEASURE, reader, str(tiny), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    first, peak, *later = map(float, done.stdout.split())
    return first, peak, statistics.median(later)


def compare(path: Path, tiny: Path) -> None:
    megabytes = path.stat().st_size / 1e6
    measure(READERS[-1], tiny, path)  # fills the cache
    results = {reader: measure(reader, tiny, path) for reader in READERS}
    peer = results["scikit-learn"][2]
    print(f"\n### {path.name}, {megabytes:,.1f} MB\n")
    print("| reader | first read, s | later reads, s | MB/s | times faster | peak memory / array |")
    print("|---|---:|---:|---:|---:|---:|")
    for reader, (first, peak, later) in results.items():
        speed = f"{megabytes / later:,.0f} | {peer / later:,.1f}"
        print(f"| {reader} | {first:.4f} | {later:.4f} | {speed} | {peak:.2f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="20 MB instead of 260")
    parser.add_argument("--real", type=Path, nargs="*", default=[], help="LETOR files to measure besides")
    arguments = parser.parse_args()
    import sklearn

    from lambdamart_kit import __version__
    from lambdamart_kit.datasets import make_letor, write_letor

    print(
        f"{datetime.date.today()}, Python {platform.python_version()}, {os.cpu_count()} cores, "
        f"lambdamart-kit {__version__}, scikit-learn {sklearn.__version__}"
    )
    with tempfile.TemporaryDirectory() as folder:
        tiny = Path(folder) / "tiny.txt"
        tiny.write_text(TINY)
        generated = Path(folder) / "generated.txt"
        write_letor(make_letor(160 if arguments.quick else 2000, random_state=0), generated)
        compare(generated, tiny)
        for path in arguments.real:
            copy = Path(folder) / path.parent.name / path.name  # the cache goes beside the copy
            copy.parent.mkdir(exist_ok=True)
            copy.write_bytes(path.read_bytes())
            compare(copy, tiny)


if __name__ == "__main__":
    main()
