"""Prints docs/benchmarks.md from the JSON files that `cofio bench --json` wrote, and draws its charts.

scripts/benchmark_report.py RESULTS > docs/benchmarks.md

Another machine's page lies in a folder of its own (`--docs docs/epyc > docs/epyc/benchmarks.md`) and leaves out the loads.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from cofio.bench.charts import draw
from cofio.bench.report import Run, report, under_load

DOCS = Path(__file__).resolve().parents[1] / "docs"
CHARTS = "benchmarks"
LOADS = DOCS / "load"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=Path, help="folder of the JSON files")
    parser.add_argument("--docs", type=Path, default=DOCS, help="folder of the page; its charts go beside it")
    options = parser.parse_args()
    runs: dict[str, Run] = {}
    for path in sorted(options.results.glob("*.json")):
        runs |= json.loads(path.read_text(encoding="utf-8"))
    charts = {
        name: f"{CHARTS}/{path.name}"
        for name, run in runs.items()
        if (path := draw(name, run, options.docs / CHARTS)) is not None
    }
    print("\n".join(report(runs, charts)))
    if options.docs != DOCS:
        return
    loads = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(LOADS.glob("*.json"))}
    print("\n".join(under_load(loads)))


if __name__ == "__main__":
    main()
