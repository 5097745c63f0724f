"""Mixed load on a running service: three queries, one health check, one ingest, waiting 1 to 3 s between them.

    .venv/bin/locust -f tests/load/locustfile.py --headless --users 100 --spawn-rate 10 --run-time 5m \\
        --host http://127.0.0.1:8000

Start the service with `COFIO_QUERY_RATE= COFIO_INGEST_RATE= scripts/run`: all users come from one address.
"""

from __future__ import annotations

import itertools
import json
import random
from pathlib import Path

from locust import HttpUser, between, task

DATA = Path(__file__).parents[2] / "data"
QUESTIONS = [question["question"] for question in json.loads((DATA / "questions.json").read_text())]
NUMBERS = itertools.count()


class MeetingApp(HttpUser):
    """One user of a meeting-notes app."""

    wait_time = between(1, 3)

    @task(3)
    def query(self) -> None:
        question = f"{random.choice(QUESTIONS)} {random.randrange(50)}"
        self.client.post("/api/v2/query", json={"query": question})

    @task(1)
    def health(self) -> None:
        self.client.get("/health/ready")

    @task(1)
    def ingest(self) -> None:
        number = next(NUMBERS)
        lines = [
            f"Ann: Shipment {number} of the gaskets arrives on pier {number % 7} next week.",
            f"Bob: I will check lot {number} before we unload it.",
        ]
        meeting = {
            "title": f"Harbour {number}",
            "transcript": "\n".join(lines),
            "series": "load",
            "project": "load",
        }
        self.client.post("/ingest", json=meeting)
