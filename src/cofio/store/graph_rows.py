"""What the memory graph reads of the truth."""

from __future__ import annotations

import hashlib
import itertools
import sqlite3
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

import orjson

from cofio.graph.blocks import ContextRow, EpisodeRow, Lexicons, MeetingBlock, MeetingHead, build_block
from cofio.graph.ledger import ConceptRow, Ledger
from cofio.records import ConceptKind, Level, MemoryType
from cofio.store.database import Database, queries

# Meetings that are read at once: a whole memory does not fit into the working memory twice.
MEETINGS_AT_ONCE: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class _Changes:
    """What happened since a version: `meetings` by row id and `concepts` by memory id; None stands for all."""

    version: int
    meetings: frozenset[int] | None
    concepts: frozenset[str] | None


def catch_up(connection: sqlite3.Connection, ledger: Ledger, since: int) -> tuple[Ledger, int]:
    """A ledger with the state of the truth, and the version of that state.

    It is `ledger`, which held the state of version `since`, or a new one if that is further back than the truth
    remembers. If reading fails, `ledger` may hold some changes already; catching up again mends that.
    """
    changes = _changes(connection, since)
    if changes.meetings is None:
        ledger = Ledger()
        keys = [row["id"] for row in queries.all_meeting_keys(connection)]
    else:
        keys = sorted(changes.meetings)
        ledger.drop_meetings(keys)
    for at in range(0, len(keys), MEETINGS_AT_ONCE):
        listed = orjson.dumps(keys[at : at + MEETINGS_AT_ONCE]).decode()
        heads = list(queries.meetings_by_rowid(connection, ids=listed))
        episodes = list(queries.episodes_for_graph(connection, ids=listed))
        contexts = list(queries.contexts_for_graph(connection, ids=listed))
        answers = list(queries.answers_for_graph(connection, ids=listed))
        _add_meetings(ledger, heads, episodes, contexts, answers)
    _set_concepts(connection, ledger, changes)
    return ledger, changes.version


async def stamp(database: Database, version: int) -> str | None:
    """A fingerprint of the change that made this version; None if the truth does not remember it."""
    rows = await database.rows(queries.change, version=version)
    if not rows:
        return None
    (row,) = rows
    return hashlib.sha256(orjson.dumps([version, row["meeting"], row["concepts"]])).hexdigest()


def _changes(connection: sqlite3.Connection, since: int) -> _Changes:
    version = int(queries.version(connection))
    rows = list(queries.changes_since(connection, version=since))
    if since == 0 or (rows and rows[0]["version"] != since + 1):
        return _Changes(version=version, meetings=None, concepts=None)
    return _Changes(
        version=version,
        meetings=frozenset(int(row["meeting"]) for row in rows),
        concepts=frozenset(itertools.chain.from_iterable(orjson.loads(row["concepts"]) for row in rows)),
    )


def _set_concepts(connection: sqlite3.Connection, ledger: Ledger, changes: _Changes) -> None:
    changed = changes.concepts
    if changed is None:
        everything = queries.memory_ids_of_level(connection, level=int(Level.CONCEPT))
        changed = frozenset([row["memory_id"] for row in everything])
    written = list(queries.concept_mentions_of_meetings(connection, meetings=_listed(changes.meetings or ())))
    # A meeting may be written anew while its concepts stay as they were: it lost the edge to a question that is gone.
    changed |= {row["memory_id"] for row in written}
    concepts = list(queries.concepts_for_graph(connection, ids=_listed(changed)))
    # A concept that the graph holds keeps its mentions; only the changed meetings may bring it new ones. A speaker of
    # a thousand meetings is not read anew for each.
    new = ledger.new_concepts(row["memory_id"] for row in concepts)
    mentions = queries.concept_mentions_for_graph(connection, ids=_listed(new))
    more = [row for row in written if row["memory_id"] not in new]
    gone = changed - {row["memory_id"] for row in concepts}
    ledger.set_concepts(_concept_rows(concepts, [*mentions, *more]), gone)


def _listed(items: Collection[object]) -> str:
    return orjson.dumps(sorted(items, key=str)).decode()


def _add_meetings(
    ledger: Ledger,
    heads: Sequence[sqlite3.Row],
    episodes: Sequence[sqlite3.Row],
    contexts: Sequence[sqlite3.Row],
    answers: Sequence[sqlite3.Row],
) -> None:
    episodes_of, contexts_of, answers_of = (_by_meeting(rows) for rows in (episodes, contexts, answers))
    for head in heads:
        key = head["id"]
        ledger.add_meeting(_block(head, episodes_of(key), contexts_of(key), answers_of(key), ledger.lexicons))


def _block(
    head: sqlite3.Row,
    episodes: Sequence[sqlite3.Row],
    contexts: Sequence[sqlite3.Row],
    answers: Sequence[sqlite3.Row],
    lexicons: Lexicons,
) -> MeetingBlock:
    return build_block(
        MeetingHead(
            key=head["id"],
            meeting_id=head["meeting_id"],
            title=head["title"],
            project=head["project"],
            series=head["series"],
            document=bool(head["document"]),
            day=date.fromisoformat(head["date"]).toordinal() if head["date"] else 0,
        ),
        [
            EpisodeRow(
                node=row["id"],
                memory_id=row["memory_id"],
                memory_type=MemoryType(row["memory_type"]),
                content=row["content"],
                words=row["words"],
                speaker=row["speaker"],
                pure_question=bool(row["pure_question"]),
                vector=row["vector"],
            )
            for row in episodes
        ],
        [_context(row) for row in contexts],
        [(row["source"], row["target"]) for row in answers],
        lexicons,
    )


def _context(row: sqlite3.Row) -> ContextRow:
    details = orjson.loads(row["details"])
    return ContextRow(
        memory_id=row["memory_id"],
        first=details["first_position"],
        last=details["last_position"] + 1,
        vector=row["vector"],
    )


def _concept_rows(concepts: Sequence[sqlite3.Row], mentions: Sequence[sqlite3.Row]) -> list[ConceptRow]:
    mentions_of: dict[str, list[tuple[int, int]]] = {}
    for row in mentions:
        mentions_of.setdefault(row["memory_id"], []).append((row["meeting"], row["position"]))
    rows = []
    for row in concepts:
        details = orjson.loads(row["details"])
        rows.append(
            ConceptRow(
                memory_id=row["memory_id"],
                project=row["project"],
                label=details["label"],
                kind=ConceptKind(details["concept_kind"]),
                mentions=tuple(mentions_of.get(row["memory_id"], ())),
                vector=row["vector"],
            )
        )
    return rows


def _by_meeting(rows: Sequence[sqlite3.Row]) -> Callable[[int], list[sqlite3.Row]]:
    grouped: dict[int, list[sqlite3.Row]] = {}
    for row in rows:
        grouped.setdefault(row["meeting"], []).append(row)
    return lambda meeting: grouped.get(meeting, [])
