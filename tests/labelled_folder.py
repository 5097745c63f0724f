"""A small labelled folder in the layout that `cofio eval` reads: two conversations, a meeting set, passages."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

CONVERSATIONS: list[tuple[str, str, str, list[tuple[str, str]]]] = [
    ("c1", "c1-s1", "2023-05-08", [
        ("Ann", "I started pottery classes at the old mill last week and I love it."),
        ("Bob", "How lovely."),
        ("Bob", "My brother Carl moved to Lisbon and opened a small bakery there."),
    ]),
    ("c1", "c1-s2", "2023-06-01", [
        ("Ann", "The kiln at the mill broke, so my blue vase has a long crack."),
        ("Bob", "Carl's bakery won a prize for its custard tarts in the city."),
    ]),
    ("c2", "c2-s1", "2023-05-20", [
        ("Dora", "We adopted a grey parrot called Jules who swears in Dutch all day."),
        ("Emil", "I am training for the marathon in Bergen, twenty kilometres every Sunday."),
    ]),
]  # fmt: skip


def write(path: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    """JSON lines, gzipped if the name ends so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(line) + "\n" for line in lines).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)


def write_labelled(folder: Path) -> None:
    """Writes the sets locomo, ami_icsi and musique into `folder`, as plain and as gzipped JSON lines."""
    write(
        folder / "locomo" / "sessions.jsonl.gz",
        (
            {
                "meeting_id": meeting,
                "conversation_id": conversation,
                "title": f"Chat {meeting}",
                "date": day,
                "participants": sorted({speaker for speaker, _ in turns}),
                "turns": [
                    {"turn_id": f"{meeting}:{i}", "speaker": speaker, "text": text}
                    for i, (speaker, text) in enumerate(turns)
                ],
            }
            for conversation, meeting, day, turns in CONVERSATIONS
        ),
    )
    questions = [
        ("q1", "What craft did Ann take up?", "single-hop", "c1", ["c1-s1:0"]),
        ("q2", "What happened to Ann's vase?", "single-hop", "c1", ["c1-s2:0"]),
        ("q3", "What do we know of Carl?", "multi-hop", "c1", ["c1-s1:2", "c1-s2:1"]),
        ("q4", "Which sport does Emil train for?", "single-hop", "c2", ["c2-s1:1"]),
        ("q5", "What was lovely?", "single-hop", "c1", ["c1-s1:1"]),
        ("q6", "Which craft did Bob take up?", "adversarial", "c1", []),
        ("q7", "Which parrot did Emil adopt?", "adversarial", "c2", []),
    ]
    write(
        folder / "locomo" / "queries.jsonl",
        (
            {
                "query_id": name,
                "query": text,
                "category": category,
                "meeting_id": series,
                "gold_turn_ids": gold,
            }
            for name, text, category, series, gold in questions
        ),
    )
    talk = [
        ("0", "A", "Let us begin with the budget of the harbour crane for this year."),
        ("1", "B", "The crane needs new paint and two motors, which is forty thousand in all."),
        ("2", "A", "Fine."),
        ("3", "B", "Next item, the ferry timetable for the summer has to change in June."),
        ("4", "A", "Please send the new timetable to the council by Friday, Ben."),
    ]
    for place in ("north", "south"):
        write(
            folder / "ami_icsi" / "meetings.jsonl",
            (
                {
                    "meeting_id": name,
                    "title": f"Harbour {name}",
                    "domain": "harbour",
                    "participants": ["A", "B"],
                    "turns": [
                        {
                            "turn_id": i,
                            "speaker": speaker,
                            "text": f"{text} This is {name}.",
                            "start": 5.0 * int(i),
                        }
                        for i, speaker, text in talk
                    ],
                }
                for name in ("north", "south")
            ),
        )
        write(
            folder / "ami_icsi" / "queries.jsonl",
            [
                {
                    "query_id": f"{place}-1",
                    "query": "What does the crane cost?",
                    "category": "budget",
                    "meeting_id": place,
                    "gold_turn_ids": ["0", "1", "2"],
                    "evidence_turn_ids": ["1"],
                }
            ],
        )
    write(
        folder / "ami_icsi" / "items.jsonl",
        [
            {
                "item_id": "i1",
                "meeting_id": "north",
                "section": "actions",
                "text": "Send the timetable to the council",
                "turn_ids": ["4"],
            }
        ],
    )
    write(
        folder / "ami_icsi" / "topics.jsonl", [{"meeting_id": "north", "topic": "crane", "spans": [[0, 2]]}]
    )
    passages = [
        ("p1", "Blue Kiln", "Blue Kiln is a 1974 film directed by Mara Lindqvist about a village potter."),
        ("p2", "Mara Lindqvist", "Mara Lindqvist was a director, born in the harbour town of Rauma in 1931."),
        ("p3", "Red Kiln", "Red Kiln is a restaurant in Leeds that serves bread and soup."),
        (
            "p4",
            "Rauma (town)",
            "Rauma is a town on the west coast, known for its lace and its wooden houses.",
        ),
    ]
    write(
        folder / "musique" / "passages.jsonl",
        ({"id": name, "title": title, "text": text} for name, title, text in passages),
    )
    write(
        folder / "musique" / "queries.jsonl",
        [
            {
                "query_id": "m1",
                "query": "Where was the director of Blue Kiln born?",
                "category": "2hop",
                "gold_ids": ["p1", "p2"],
            }
        ],
    )
