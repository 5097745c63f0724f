"""Fits the logistic heads of `cofio.text.types` and prints what they find, by cross-validation over meetings.

    scripts/train_type_heads.py --data ../shared/eval [--cache DIR] [--write] [--owners] [--json FILE]

Reads the sets `ami_icsi` and `ethpm` in the layout of that folder's README, embeds "speaker: text" with the
project's int8 encoder, and fits one head each for action, decision, issue and idea by Newton's method on the
L2-regularised logistic loss. `--write` replaces `src/cofio/text/type_heads.json`.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import math
import re
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cofio.embed.onnx import OnnxEncoder
from cofio.eval.measures import Figure, average
from cofio.eval.probes import owned_by
from cofio.records import Bools, Episode, Float32s, MemoryType
from cofio.text.owners import company, owners
from cofio.text.terms import count_words
from cofio.text.types import ACTION_RULE, DECISION_RULE, HEADS, IDEA_RULE, ISSUE_RULE, classify, head_inputs

Float64s = NDArray[np.float64]

REPOSITORY: Final = Path(__file__).resolve().parents[1]
HEADS_FILE: Final = REPOSITORY / "src/cofio/text/type_heads.json"
SHORTEST: Final = 5  # words; shorter turns are never flagged
CORPORA: Final = ("ami_icsi", "ethpm")
QUOTA: Final = 0.02  # share of a meeting's turns that a head may flag
APART: Final = {"ami_icsi": 1, "ethpm": 3}  # turns between two flags
FOLDS: Final = 5
L2: Final = 1e-3
AMI_LABELS: Final = {
    "action": MemoryType.ACTION,
    "decision": MemoryType.DECISION,
    "problem": MemoryType.ISSUE,
    "suggestion": MemoryType.IDEA,
}
AMI_SECTIONS: Final = {
    "actions": MemoryType.ACTION,
    "decisions": MemoryType.DECISION,
    "problems": MemoryType.ISSUE,
}
ETHPM_SECTIONS: Final = {"action": MemoryType.ACTION, "decision": MemoryType.DECISION}
LABELLED_IN: Final = {
    MemoryType.ACTION: ("ami_icsi", "ethpm"),
    MemoryType.DECISION: ("ami_icsi", "ethpm"),
    MemoryType.ISSUE: ("ami_icsi",),
    MemoryType.IDEA: ("ami_icsi",),
}
RULES: Final = {
    MemoryType.ACTION: ACTION_RULE,
    MemoryType.DECISION: DECISION_RULE,
    MemoryType.ISSUE: ISSUE_RULE,
    MemoryType.IDEA: IDEA_RULE,
}


@dataclass(slots=True, kw_only=True)
class Turn:
    """One turn of five words or more; `supports` holds the types of the items that it is evidence for."""

    corpus: str
    meeting: str
    place: int  # among all turns of the meeting
    share: float  # the same from 0 to 1
    speaker: str
    text: str
    words: int
    supports: set[MemoryType] = field(default_factory=set)

    @property
    def encoded_text(self) -> str:
        return f"{self.speaker}: {self.text}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One decision, action or problem of the gold, with the places of the turns that support it."""

    corpus: str
    meeting: str
    memory_type: MemoryType
    places: frozenset[int]
    owner: str | None = None


def read(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def load(folder: Path) -> tuple[list[Turn], list[Item]]:
    """All turns of five words or more of one set with what they support, and the set's items."""
    corpus = folder.name
    turns: list[Turn] = []
    found: dict[tuple[str, str], Turn] = {}
    places: dict[tuple[str, str], int] = {}
    for meeting in read(folder / "meetings.jsonl.gz"):
        for place, raw in enumerate(meeting["turns"]):
            key = (meeting["meeting_id"], raw["turn_id"])
            places[key] = place
            words = count_words(raw["text"])
            if words >= SHORTEST:
                found[key] = Turn(
                    corpus=corpus,
                    meeting=meeting["meeting_id"],
                    place=place,
                    share=place / max(1, len(meeting["turns"]) - 1),
                    speaker=raw["speaker"],
                    text=raw["text"],
                    words=words,
                )
                turns.append(found[key])
    items = []
    labels = folder / "labels.jsonl.gz"
    for label in read(labels) if labels.exists() else ():
        turn = found.get((label["meeting_id"], label["turn_id"]))
        for name in label["labels"]:
            if turn is not None and name in AMI_LABELS:
                turn.supports.add(AMI_LABELS[name])
    for raw in read(folder / "items.jsonl.gz"):
        memory_type = (AMI_SECTIONS | ETHPM_SECTIONS).get(raw["section"])
        if memory_type is None:
            continue
        window = [(raw["meeting_id"], t) for t in raw.get("window_turn_ids") or raw["turn_ids"]]
        if corpus == "ethpm":
            for turn_id in raw["turn_ids"]:
                if (turn := found.get((raw["meeting_id"], turn_id))) is not None:
                    turn.supports.add(memory_type)
        supporting = frozenset(places[key] for key in window if key in found)
        if supporting:
            items.append(
                Item(
                    corpus=corpus,
                    meeting=raw["meeting_id"],
                    memory_type=memory_type,
                    places=supporting,
                    owner=raw.get("owner"),
                )
            )
    return turns, items


def embed(texts: Sequence[str], model: Path, cache: Path | None) -> Float32s:
    """The unit vectors of `texts`, float32 (n, 384), from the cache where it holds exactly these texts."""
    key = hashlib.blake2b("\0".join(texts).encode(), digest_size=8).hexdigest()
    kept = cache / f"vectors-{key}.npy" if cache is not None else None
    if kept is not None and kept.exists():
        return np.asarray(np.load(kept), dtype=np.float32)
    started = time.perf_counter()
    vectors = OnnxEncoder.open(model, precision="int8").encode(texts)
    print(f"embedded {len(texts)} turns in {time.perf_counter() - started:.0f} s")
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        np.save(kept, vectors)
    return vectors


def fit(inputs: Float32s, target: Float64s, weight: Float64s, l2: float = L2) -> Float64s:
    """The weights (813 and the bias last) that minimise the weighted logistic loss per turn + l2/2 ‖w‖².

    Newton's method with step halving; the bias is not regularised. Each side of the target carries half of the
    weight, so rare types are not drowned.
    """
    x = np.hstack([inputs, np.ones((len(inputs), 1), np.float32)])
    positive, negative = weight * target, weight * (1.0 - target)
    positive, negative = positive / positive.sum() / 2.0, negative / negative.sum() / 2.0
    ridge = np.full(x.shape[1], l2)
    ridge[-1] = 0.0

    def loss(w: Float64s) -> float:
        logits = (x @ w.astype(np.float32)).astype(np.float64)
        return float(
            positive @ np.logaddexp(0.0, -logits) + negative @ np.logaddexp(0.0, logits) + ridge @ w**2 / 2
        )

    w = np.zeros(x.shape[1])
    before = loss(w)
    for _ in range(25):
        p = 1.0 / (1.0 + np.exp(-(x @ w.astype(np.float32)).astype(np.float64)))
        gradient = x.T @ ((positive + negative) * p - positive).astype(np.float32) + ridge * w
        root = x * np.sqrt((positive + negative) * p * (1 - p)).astype(np.float32)[:, None]
        step = np.linalg.solve((root.T @ root).astype(np.float64) + np.diag(ridge + 1e-9), gradient)
        scale = 1.0
        while (after := loss(w - scale * step)) > before and scale > 1e-3:
            scale /= 2.0
        w, gained, before = w - scale * step, before - after, after
        if gained < 1e-6:
            break
    return w


def weights_of(turns: Sequence[Turn], memory_type: MemoryType) -> tuple[Float64s, Float64s]:
    """Target and weight of every turn; both corpora weigh the same on either side, unlabelled corpora nothing."""
    target = np.array([float(memory_type in turn.supports) for turn in turns])
    weight = np.zeros(len(turns))
    corpora = np.array([turn.corpus for turn in turns])
    for corpus in LABELLED_IN[memory_type]:
        for side in (target > 0, target == 0):
            here = (corpora == corpus) & side
            weight[here] = 1.0 / max(1, here.sum())
    return target, weight


def folds_of(turns: Sequence[Turn]) -> NDArray[np.int64]:
    """The fold of every turn: whole meetings, in the order of a hash of their ids."""
    meetings = sorted({t.meeting for t in turns}, key=lambda m: hashlib.blake2b(m.encode()).digest())
    fold = {meeting: i % FOLDS for i, meeting in enumerate(meetings)}
    return np.array([fold[t.meeting] for t in turns])


def cross_validated(turns: Sequence[Turn], inputs: Float32s, memory_type: MemoryType) -> Float64s:
    """The log-odds of every turn by the head that has not seen its meeting."""
    target, weight = weights_of(turns, memory_type)
    folds = folds_of(turns)
    odds = np.empty(len(turns))
    for k in range(FOLDS):
        seen = (folds != k) & (weight > 0)
        w = fit(inputs[seen], target[seen], weight[seen])
        odds[folds == k] = inputs[folds == k] @ w[:-1] + w[-1]
    return odds


def item_hits(turns: Sequence[Turn], items: Sequence[Item], scores: Float64s) -> Float64s:
    """1 for each of `items` with a flagged supporting turn, if each meeting flags 2 % of its turns, best first.

    Flags lie `APART` turns from each other.
    """
    rows: dict[str, list[int]] = defaultdict(list)
    for i, turn in enumerate(turns):
        rows[turn.meeting].append(i)
    flagged: dict[str, set[int]] = {}
    for meeting, here in rows.items():
        taken: set[int] = set()
        for i in sorted(here, key=lambda i: -scores[i]):
            if len(taken) == math.ceil(QUOTA * len(here)):
                break
            if all(abs(turns[i].place - other) >= APART[turns[i].corpus] for other in taken):
                taken.add(turns[i].place)
        flagged[meeting] = taken
    return np.array([float(bool(item.places & flagged.get(item.meeting, set()))) for item in items])


def chance(turns: Sequence[Turn], items: Sequence[Item], repeats: int = 20) -> float:
    """`item_hits` of random scores, averaged."""
    rng = np.random.default_rng(0)
    return float(np.mean([item_hits(turns, items, rng.random(len(turns))).mean() for _ in range(repeats)]))


def threshold_for(turns: Sequence[Turn], scores: Float64s, corpora: Sequence[str]) -> float:
    """The score above which 2 % of the turns lie, each of `corpora` weighing the same."""
    weight = np.zeros(len(turns))
    of = np.array([turn.corpus for turn in turns])
    for corpus in corpora:
        here = of == corpus
        weight[here] = 1.0 / here.sum() / len(corpora)
    order = np.argsort(-scores)
    last = int(np.searchsorted(np.cumsum(weight[order]), QUOTA))
    return float(scores[order[min(last, len(order) - 1)]])


def report(
    turns: Sequence[Turn], items: Sequence[Item], memory_type: MemoryType, odds: Float64s
) -> dict[str, Figure]:
    """Prints item hits at 2 % of head, rule and chance, and the best turn F1; returns those of the head by corpus."""
    found: dict[str, Figure] = {}
    rule = np.array([float(RULES[memory_type].search(t.text) is not None) for t in turns])
    # Among turns that the rule flags alike, chance decides.
    rule += np.random.default_rng(1).random(len(turns)) / 2
    for corpus in LABELLED_IN[memory_type]:
        here = [i for i, t in enumerate(turns) if t.corpus == corpus]
        some = [turns[i] for i in here]
        gold = [item for item in items if item.corpus == corpus and item.memory_type == memory_type]
        if gold:
            found[corpus] = average(item_hits(some, gold, odds[here]))
            print(
                f"{memory_type:9} {corpus:9} items {len(gold):4}  item-hit@2%: "
                f"head {found[corpus].mean:.3f} [{found[corpus].low:.3f}, {found[corpus].high:.3f}]  "
                f"rule {item_hits(some, gold, rule[here]).mean():.3f}  "
                f"chance {chance(some, gold):.3f}"
            )
        positive = np.array([memory_type in t.supports for t in some])
        print(f"{memory_type:9} {corpus:9} turns: {turn_f1(odds[here], positive)}")
    return found


def turn_f1(odds: Float64s, positive: Bools) -> str:
    """Precision, recall and F1 at the best threshold, and the share of turns flagged there, as text."""
    order = np.argsort(-odds)
    hits = np.cumsum(positive[order])
    flagged = np.arange(1, len(order) + 1)
    f1 = 2 * hits / (flagged + hits[-1])
    best = int(f1.argmax())
    return (
        f"best F1 {f1[best]:.3f} (P {hits[best] / flagged[best]:.3f}, R {hits[best] / hits[-1]:.3f}) "
        f"with {flagged[best] / flagged[-1]:.1%} flagged"
    )


def quantised(w: Float64s, threshold: float) -> dict[str, object]:
    """One head as it is shipped: int8 weights with one scale, the bias, and the threshold as a probability."""
    scale = float(np.abs(w[:-1]).max() / 127.0)
    return {
        "scale": round(scale, 8),
        "bias": round(float(w[-1]), 5),
        "threshold": round(1.0 / (1.0 + math.exp(-threshold)), 5),
        "weights": np.rint(w[:-1] / scale).astype(int).tolist(),
    }


def write_heads(heads: Mapping[MemoryType, dict[str, object]]) -> None:
    """Replaces the shipped constants."""
    content = {
        "about": "Logistic heads of cofio.text.types, made by scripts/train_type_heads.py",
        "licence": "CC BY-SA 3.0 (https://creativecommons.org/licenses/by-sa/3.0/)",
        "attribution": [
            "Fitted on annotations of the AMI Meeting Corpus, AMI Consortium, CC BY 4.0",
            "Fitted on annotations of the ICSI Meeting Corpus (MRDA dialogue acts, ICSI), CC BY 4.0",
            "Fitted on call summaries of ethereum/pm (ethpm), its contributors, CC BY-SA 3.0",
        ],
        "changes": "Only the fitted weights are kept; no text of these corpora is contained.",
        "heads": heads,
    }
    text = json.dumps(content, indent=1, ensure_ascii=False)
    # One head's weights on one line.
    text = re.sub(r"\[\s+((?:-?\d+,\s+)+-?\d+)\s+\]", lambda m: "[" + " ".join(m[1].split()) + "]", text)
    HEADS_FILE.write_text(text + "\n", encoding="utf-8")
    print(f"wrote {HEADS_FILE.relative_to(REPOSITORY)}")


def flag_rates(turns: Sequence[Turn], vectors: Float32s) -> None:
    """Prints what share of all turns the shipped classifier gives each type, by corpus."""
    total: Counter[str] = Counter()
    given: Counter[tuple[str, str]] = Counter()
    for here in by_meeting(turns):
        corpus = turns[here[0]].corpus
        typed = classify([episode_of(turns[i]) for i in here], vectors[here])
        total[corpus] += len(here)
        given.update((corpus, t.memory_type) for t in typed)
    for corpus in CORPORA:
        shares = sorted((name, count / total[corpus]) for (of, name), count in given.items() if of == corpus)
        print(corpus, " ".join(f"{name} {share:.3f}" for name, share in shares))


def by_meeting(turns: Sequence[Turn]) -> list[list[int]]:
    """The rows of each meeting, in the order in which they were said."""
    rows: dict[tuple[str, str], list[int]] = defaultdict(list)
    for i, turn in enumerate(turns):
        rows[turn.corpus, turn.meeting].append(i)
    return list(rows.values())


def episode_of(turn: Turn) -> Episode:
    return Episode(text=turn.text, position=turn.place, words=turn.words, speaker=turn.speaker)


def measure_owners(folder: Path, turns: Sequence[Turn], vectors: Float32s, items: Sequence[Item]) -> None:
    """Prints how often the owner of an ethpm action is the first, or among both, of the candidates.

    Counts the items whose owner names a participant; the vote is taken in the middle of the item's window.
    """
    row_of = {(t.meeting, t.place): i for i, t in enumerate(turns) if t.corpus == "ethpm"}
    first = both = total = talkers = 0
    for meeting in read(folder / "meetings.jsonl.gz"):
        wanted = [
            (item, gold)
            for item in items
            if item.meeting == meeting["meeting_id"] and item.memory_type is MemoryType.ACTION and item.owner
            if (gold := owned_by(item.owner, meeting["participants"]))
        ]
        if not wanted:
            continue
        episodes = [
            Episode(text=t["text"], position=i, words=count_words(t["text"]), speaker=t["speaker"])
            for i, t in enumerate(meeting["turns"])
        ]
        meeting_vectors = np.zeros((len(episodes), vectors.shape[1]), dtype=np.float32)
        for i in range(len(episodes)):
            if (row := row_of.get((meeting["meeting_id"], i))) is not None:
                meeting_vectors[i] = vectors[row]
        typed = classify(episodes, meeting_vectors)
        present = company(episodes, typed, meeting["participants"])
        for item, gold in wanted:
            middle = sorted(item.places)[len(item.places) // 2]
            candidates = owners(middle, episodes, typed, present)
            spoken: dict[str, int] = defaultdict(int)
            for i in item.places:
                spoken[episodes[i].speaker or ""] += episodes[i].words
            total += 1
            first += bool(gold & set(candidates[:1]))
            both += bool(gold & set(candidates))
            talkers += max(spoken, key=lambda s: spoken[s]) in gold
    print(
        f"owners: {total} items; first {first / total:.3f}, among two {both / total:.3f}, "
        f"most words in the window {talkers / total:.3f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with the sets ami_icsi and ethpm")
    parser.add_argument("--model", type=Path, default=REPOSITORY / "models", help="folder of the encoder")
    parser.add_argument("--cache", type=Path, help="folder where embedded turns are kept between runs")
    parser.add_argument("--write", action="store_true", help="replace the shipped constants")
    parser.add_argument("--json", type=Path, help="file for the cross-validated item hits")
    parser.add_argument("--owners", action="store_true", help="measure the owner vote too")
    options = parser.parse_args()

    turns: list[Turn] = []
    items: list[Item] = []
    for corpus in CORPORA:
        more_turns, more_items = load(options.data / corpus)
        turns += more_turns
        items += more_items
    vectors = embed([t.encoded_text for t in turns], options.model, options.cache)
    inputs = np.vstack(
        [
            head_inputs(
                [turns[i].text for i in here],
                [turns[i].words for i in here],
                [turns[i].share for i in here],
                vectors[here],
            )
            for here in by_meeting(turns)
        ]
    )
    shipped, hits = {}, {}
    for memory_type in HEADS:
        odds = cross_validated(turns, inputs, memory_type)
        hits[memory_type.value] = {
            corpus: asdict(figure) for corpus, figure in report(turns, items, memory_type, odds).items()
        }
        target, weight = weights_of(turns, memory_type)
        seen = weight > 0
        threshold = threshold_for(turns, odds, LABELLED_IN[memory_type])
        shipped[memory_type] = quantised(fit(inputs[seen], target[seen], weight[seen]), threshold)
    if options.json:
        options.json.write_text(json.dumps(hits, indent=1))
    if options.write:
        write_heads(shipped)
        flag_rates(turns, vectors)
    if options.owners:
        measure_owners(options.data / "ethpm", turns, vectors, items)


if __name__ == "__main__":
    main()
