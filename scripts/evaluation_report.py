"""Prints docs/evaluation.md from the JSON files that `cofio eval --json` wrote (see scripts/evaluate).

scripts/evaluation_report.py RESULTS > docs/evaluation.md
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cofio.eval.command import COLUMNS

Figure = Mapping[str, Any]  # mean, low, high: null where nothing was to be measured; n
Run = Mapping[str, Any]
Runs = Mapping[str, Run]

TITLES: Final = {
    "locomo-meeting": "LoCoMo, asked of the conversation",
    "locomo-pooled": "LoCoMo, asked of all conversations",
    "qmsum-meeting": "QMSum, asked of the meeting",
    "qmsum-pooled": "QMSum, asked of all meetings",
    "qmsum_sent-meeting": "QMSum in sentences, asked of the meeting",
    "ami_icsi-meeting": "AMI and ICSI, asked of the meeting",
    "ethpm-meeting": "Ethereum calls (ethpm), asked of the meeting",
    "ethpm-pooled": "Ethereum calls (ethpm), asked of all meetings",
    "musique-pooled": "MuSiQue",
    "2wikimultihopqa-pooled": "2WikiMultihopQA",
}
HEADS: Final = "type-heads"
PRECISION: Final = ("locomo-meeting", "qmsum-meeting")


def metric(run: str, system: str, measure: str, category: str | None = None) -> Callable[[Runs], Figure]:
    """One cell of a run's table."""

    def find(runs: Runs) -> Figure:
        of = runs[run]["systems"][system]
        found: Figure = (of["metrics"] if category is None else of["by_category"][category])[measure]
        return found

    return find


def beside(run: str, name: str) -> Callable[[Runs], Figure]:
    """A figure of a run that belongs to no system."""

    def find(runs: Runs) -> Figure:
        found: Figure = runs[run]["figures"][name]
        return found

    return find


def cross_validated(memory_type: str, corpus: str) -> Callable[[Runs], Figure]:
    """Item hits of heads that were fitted on other meetings (scripts/train_type_heads.py --json)."""

    def find(runs: Runs) -> Figure:
        found: Figure = runs[HEADS][memory_type][corpus]
        return found

    return find


def documents(runs: Runs) -> Figure:
    """The bridges of the two document sets together, each question counted once."""
    name = "bridges_beside_hybrid_share_of_missed"
    found = [runs[run]["figures"][name] for run in ("2wikimultihopqa-pooled", "musique-pooled")]
    n = sum(figure["n"] for figure in found)
    return {key: sum(f[key] * f["n"] for f in found) / n for key in ("mean", "low", "high")} | {"n": n}


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """One figure, what it must be and what it should become."""

    figure: str
    found: Callable[[Runs], Figure]
    must: float
    aim: float
    hybrid: Callable[[Runs], Figure] | None = None
    note: str = ""


CONTEXTS: Final = "activation_on_contexts"
GOALS: Final = (
    Goal(
        figure="LoCoMo recall@10, within a conversation",
        found=metric("locomo-meeting", "activation_on", "recall@10"),
        hybrid=metric("locomo-meeting", "hybrid", "recall@10"),
        must=0.79,
        aim=0.83,
    ),
    Goal(
        figure="LoCoMo recall@10, pooled",
        found=metric("locomo-pooled", "activation_on", "recall@10"),
        hybrid=metric("locomo-pooled", "hybrid", "recall@10"),
        must=0.78,
        aim=0.83,
    ),
    Goal(
        figure="LoCoMo multi-hop recall@10, pooled",
        found=metric("locomo-pooled", "activation_on", "recall@10", "multi-hop"),
        hybrid=metric("locomo-pooled", "hybrid", "recall@10", "multi-hop"),
        must=0.48,
        aim=0.65,
    ),
    Goal(
        figure="QMSum nDCG@10 of spans, the turns of the contexts",
        found=metric("qmsum-meeting", CONTEXTS, "ndcg@10"),
        hybrid=metric("qmsum-meeting", "hybrid", "ndcg@10"),
        must=0.48,
        aim=0.55,
    ),
    Goal(
        figure="QMSum recall@10 of evidence turns",
        found=metric("qmsum-meeting", "activation_on", "evidence_recall@10"),
        hybrid=metric("qmsum-meeting", "hybrid", "evidence_recall@10"),
        must=0.40,
        aim=0.50,
    ),
    Goal(
        figure="QMSum pooled recall@50, the turns of the contexts",
        found=metric("qmsum-pooled", CONTEXTS, "recall@50"),
        hybrid=metric("qmsum-pooled", "hybrid", "recall@50"),
        must=0.27,
        aim=0.40,
    ),
    Goal(
        figure="QMSum pooled, right meeting among the best five turns",
        found=metric("qmsum-pooled", "activation_on", "meeting@5"),
        hybrid=metric("qmsum-pooled", "hybrid", "meeting@5"),
        must=0.51,
        aim=0.65,
    ),
    Goal(
        figure="ethpm nDCG@10, the turns of the contexts",
        found=metric("ethpm-meeting", CONTEXTS, "ndcg@10"),
        hybrid=metric("ethpm-meeting", "hybrid", "ndcg@10"),
        must=0.48,
        aim=0.58,
    ),
    Goal(
        figure="2Wiki recall@5",
        found=metric("2wikimultihopqa-pooled", "activation_on", "recall@5"),
        hybrid=metric("2wikimultihopqa-pooled", "hybrid", "recall@5"),
        must=0.90,
        aim=0.97,
    ),
    Goal(
        figure="MuSiQue recall@5",
        found=metric("musique-pooled", "activation_on", "recall@5"),
        hybrid=metric("musique-pooled", "hybrid", "recall@5"),
        must=0.60,
        aim=0.70,
    ),
    Goal(
        figure="gold that ten hybrid hits miss, in ten activated slots (LoCoMo)",
        found=beside("locomo-meeting", "activated_share_of_missed"),
        must=0.42,
        aim=0.60,
    ),
    Goal(
        figure="topic boundaries, F1 within five turns (QMSum)",
        found=beside("qmsum-meeting", "segmentation_f1"),
        must=0.35,
        aim=0.50,
    ),
    Goal(
        figure="gold that ten hybrid hits miss, in five bridges: LoCoMo",
        found=beside("locomo-meeting", "bridges_beside_hybrid_share_of_missed"),
        must=0.40,
        aim=0.60,
    ),
    Goal(
        figure="the same: 2Wiki and MuSiQue",
        found=documents,
        must=0.58,
        aim=0.85,
        note="interval: mean of the two sets'",
    ),
    Goal(
        figure="the same: follow-ups of items in later ethpm meetings",
        found=beside("ethpm-meeting", "bridges_to_follow_ups_share_of_missed"),
        must=0.36,
        aim=0.60,
    ),
    Goal(
        figure="confidence, own against foreign questions, AUROC: LoCoMo",
        found=beside("locomo-meeting", "confidence_auroc"),
        must=0.85,
        aim=0.93,
    ),
    Goal(
        figure="the same: QMSum, meetings of one domain",
        found=beside("qmsum-meeting", "confidence_auroc"),
        must=0.82,
        aim=0.93,
    ),
    Goal(
        figure="the same: ethpm, meetings of one series",
        found=beside("ethpm-meeting", "confidence_auroc"),
        must=0.88,
        aim=0.93,
    ),
    Goal(
        figure="confidence, questions with the speaker swapped (LoCoMo), AUROC",
        found=beside("locomo-meeting", "swapped_speaker_auroc"),
        must=0.78,
        aim=0.90,
    ),
    Goal(
        figure="actions with a flagged turn at 2 %: AMI",
        found=cross_validated("action", "ami_icsi"),
        must=0.48,
        aim=0.75,
        note="cross-validated",
    ),
    Goal(
        figure="decisions with a flagged turn at 2 %: AMI and ICSI",
        found=cross_validated("decision", "ami_icsi"),
        must=0.14,
        aim=0.30,
        note="cross-validated",
    ),
    Goal(
        figure="actions with a flagged turn at 2 %: ethpm",
        found=cross_validated("action", "ethpm"),
        must=0.33,
        aim=0.55,
        note="cross-validated",
    ),
    Goal(
        figure="decisions with a flagged turn at 2 %: ethpm",
        found=cross_validated("decision", "ethpm"),
        must=0.30,
        aim=0.50,
        note="cross-validated",
    ),
    Goal(
        figure="owner of an ethpm action, first",
        found=beside("ethpm-meeting", "owner_first"),
        must=0.57,
        aim=0.80,
    ),
    Goal(
        figure="owner of an ethpm action, one of two",
        found=beside("ethpm-meeting", "owner_among_two"),
        must=0.77,
        aim=0.92,
    ),
)


def report(runs: Runs, tried: str) -> Iterator[str]:
    """The lines of docs/evaluation.md."""
    yield "# Evaluation"
    yield ""
    yield (
        "Written by `scripts/evaluate DATA`, which runs `cofio eval --data DATA --set NAME --scope SCOPE --json FILE` for "
        "every set and prints this page from the files. Every question goes through the function that serves "
        "`/api/v2/query`, on a store that the real ingest filled. One configuration for all sets; intervals are 95 %, by a bootstrap over questions (5,000 resamples), those of differences paired."
    )
    yield ""
    yield "| run | questions | encoder | commit | date | machine | seconds |"
    yield "|---|---|---|---|---|---|---|"
    for name, run in runs.items():
        if name == HEADS:
            continue
        at = run["measured"]
        yield (
            f"| `{name}` | {run['n']} | {at['precision']} | {at['commit']} | {at['date']} | {at['machine']} | "
            f"{at['seconds']:.0f} |"
        )
    yield ""
    yield "Seconds count what had to be done: asking, and ingesting where no store of this data and code was kept."
    yield ""
    yield "## The figures that must be reached"
    yield ""
    yield "| figure | plain hybrid | cofio | must | aim | |"
    yield "|---|---|---|---|---|---|"
    for goal in GOALS:
        yield _goal(runs, goal)
    yield ""
    yield from tried.splitlines()
    yield ""
    runs = {name: run for name, run in runs.items() if name != HEADS}
    for name, title in TITLES.items():
        if name in runs:
            yield from _run(title, runs[name])
    yield from _precision(runs)


def _goal(runs: Runs, goal: Goal) -> str:
    try:
        found = goal.found(runs)
        plain = _short(goal.hybrid(runs)["mean"]) if goal.hybrid else ""
        mean = round(found["mean"], 3)
    except (KeyError, TypeError):
        return f"| {goal.figure} | | not measured | {_short(goal.must)} | {_short(goal.aim)} | |"
    reached = "aim" if mean >= goal.aim else "yes" if mean >= goal.must else "**no**"
    note = f"; {goal.note}" if goal.note else ""
    return (
        f"| {goal.figure} | {plain} | **{_short(found['mean'])}** {_interval(found)} | {_short(goal.must)} | "
        f"{_short(goal.aim)} | {reached}{note} |"
    )


def _run(title: str, run: Run) -> Iterator[str]:
    systems = run["systems"]
    yield f"## {title}"
    yield ""
    yield f"{run['n']} questions; {run['skipped']} without gold of five words or more left out."
    yield ""
    columns = [c for c in COLUMNS if c != "meeting@5" or run["scope"] == "pooled"]
    yield "| system | " + " | ".join(COLUMNS[c] for c in columns) + " | R@10 − hybrid | nDCG@10 − hybrid |"
    yield "|---" * (len(columns) + 3) + "|"
    for name, of in systems.items():
        gains = [of["difference_to_hybrid"].get(measure) for measure in ("recall@10", "ndcg@10")]
        cells = [_short(of["metrics"][c]["mean"]) for c in columns]
        cells += ["" if gain is None else f"{_signed(gain['mean'])} {_interval(gain)}" for gain in gains]
        yield f"| `{name}` | " + " | ".join(cells) + " |"
    yield ""
    categories = list(systems["hybrid"]["by_category"])
    if len(categories) > 1:
        yield from _categories(systems, categories)
    sharper = [m for m in systems["hybrid"]["metrics"] if m.startswith("evidence_") and m.endswith("@10")]
    if sharper:
        yield "| evidence turns | " + " | ".join(m.removeprefix("evidence_") for m in sharper) + " |"
        yield "|---" * (len(sharper) + 1) + "|"
        for name, of in systems.items():
            yield f"| `{name}` | " + " | ".join(_short(of["metrics"][m]["mean"]) for m in sharper) + " |"
        yield ""
    yield "| beside the rankings | | 95 % interval | n |"
    yield "|---|---|---|---|"
    for name, figure in run["figures"].items():
        yield f"| `{name}` | {_short(figure['mean'])} | {_interval(figure)} | {figure['n']} |"
    yield ""
    if run["ablation"]:
        yield "| ranking | R@10 | difference |"
        yield "|---|---|---|"
        for name, of in run["ablation"].items():
            gain = of["difference"]
            yield (f"| {name} | {_short(of['recall']['mean'])} | {_signed(gain['mean'])} {_interval(gain)} |")
        yield ""


def _categories(systems: Mapping[str, Any], categories: Sequence[str]) -> Iterator[str]:
    of = {name: system["by_category"] for name, system in systems.items()}
    heads = [f"{category} ({of['hybrid'][category]['recall@10']['n']})" for category in categories]
    yield "| recall@10 | " + " | ".join(heads) + " |"
    yield "|---" * (len(categories) + 1) + "|"
    for name, by_category in of.items():
        cells = (_short(by_category[category]["recall@10"]["mean"]) for category in categories)
        yield f"| `{name}` | " + " | ".join(cells) + " |"
    yield ""


def _precision(runs: Runs) -> Iterator[str]:
    pairs = [(name, f"{name}-fp32") for name in PRECISION if f"{name}-fp32" in runs and name in runs]
    if not pairs:
        return
    yield "## int8 against fp32"
    yield ""
    yield "| set | system | R@5 int8 / fp32 | R@10 int8 / fp32 | nDCG@10 int8 / fp32 | 95 % interval of R@10, int8 |"
    yield "|---|---|---|---|---|---|"
    for quantised, full in pairs:
        for system in ("dense", "hybrid", "activation_on", CONTEXTS):
            small, large = (runs[name]["systems"][system]["metrics"] for name in (quantised, full))
            cells = [
                f"{_short(small[m]['mean'])} / {_short(large[m]['mean'])}"
                for m in ("recall@5", "recall@10", "ndcg@10")
            ]
            yield (
                f"| {TITLES[quantised]} | `{system}` | "
                + " | ".join(cells)
                + f" | {_interval(small['recall@10'])} |"
            )
    yield ""
    worst = max(
        (
            runs[full]["systems"][system]["metrics"]["recall@10"]["mean"]
            - runs[quantised]["systems"][system]["metrics"]["recall@10"]["mean"]
            for quantised, full in pairs
            for system in ("activation_on", CONTEXTS)
        )
    )
    yield f"The most that int8 loses of cofio's recall@10 here is {_signed(worst)}; it encodes several times faster."
    yield ""


def _short(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}".replace("0.", ".", 1) if value < 1 else f"{value:.3f}"


def _signed(value: float) -> str:
    return ("+" if value >= 0 else "−") + _short(abs(value))


def _interval(figure: Figure) -> str:
    if figure["low"] is None:
        return ""

    def bound(value: float) -> str:
        return ("−" if value < 0 else "") + _short(abs(value))

    return f"[{bound(figure['low'])}, {bound(figure['high'])}]"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=Path, help="folder of the JSON files")
    parser.add_argument(
        "--tried",
        type=Path,
        default=Path(__file__).parents[1] / "docs" / "evaluation-tried.md",
        help="Markdown that tells what was tried",
    )
    options = parser.parse_args()
    order = [*TITLES, *(f"{name}-fp32" for name in PRECISION), HEADS]
    found = {path.stem: json.loads(path.read_bytes()) for path in options.results.glob("*.json")}
    runs = {name: found[name] for name in order if name in found}
    print("\n".join(report(runs, options.tried.read_text(encoding="utf-8"))).rstrip())


if __name__ == "__main__":
    main()
