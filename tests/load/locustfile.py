"""Load on a running service, as locust brings it. `scripts/load` runs this with a service of its own, and keeps the figures.

    .venv/bin/locust -f tests/load/locustfile.py --headless --scenario steady --host http://127.0.0.1:8000
    .venv/bin/locust -f tests/load/locustfile.py --headless --scenario users --users 100 --minutes 5 --host …

Start the service with `COFIO_QUERY_RATE= COFIO_INGEST_RATE= scripts/run`: all users come from one address.
"""

from __future__ import annotations

import itertools
import json
import random
import time
from argparse import ArgumentParser
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import gevent
from locust import FastHttpUser, LoadTestShape, events, task
from locust.env import Environment

DATA: Final = Path(__file__).parents[2] / "data"
QUESTIONS: Final = [
    question["question"] for question in json.loads((DATA / "questions.json").read_text(encoding="utf-8"))
]
NUMBERS: Final = itertools.count()
USERS: Final = 100
"""Users who together send `USUAL` requests a minute; at a higher rate there are more users, of the same pace."""
USUAL: Final = 1_000
CALM_MINUTES: Final = 0.5
WAIT_S: Final = (1.0, 3.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """`rate` requests a minute for so many minutes, between two calm phases of the usual rate if it is `between`.

    Without a rate each user waits from 1 to 3 s after each answer.
    """

    rate: int | None
    minutes: float
    between: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """Seconds from the beginning of the run, with how many users, and how many requests a minute they are to send."""

    name: str
    start_s: float
    end_s: float
    users: int
    rate: int | None


SCENARIOS: Final[Mapping[str, Scenario]] = {
    "users": Scenario(rate=None, minutes=5),
    "steady": Scenario(rate=USUAL, minutes=5),
    "spike": Scenario(rate=5_000, minutes=2, between=True),
    "stress": Scenario(rate=10_000, minutes=2, between=True),
    "soak": Scenario(rate=USUAL, minutes=30),
}


@events.init_command_line_parser.add_listener
def _add_options(parser: ArgumentParser) -> None:
    parser.add_argument("--scenario", choices=list(SCENARIOS), default="users", help="what the load is")
    parser.add_argument("--minutes", type=float, default=0.0, help="length of its main phase, if not its own")
    parser.set_defaults(num_users=0)  # as many as the scenario has, unless --users tells
    parser.add_argument("--answers", default="", help="file for the answers, as JSON")


def phases(name: str, users: int, minutes: float) -> list[Phase]:
    """The phases of a scenario, one after the other."""
    scenario = SCENARIOS[name]
    main = (name, minutes or scenario.minutes, scenario.rate)
    calm = ("calm", CALM_MINUTES, USUAL)
    planned = [calm, main, ("after", CALM_MINUTES, USUAL)] if scenario.between else [main]
    laid: list[Phase] = []
    for called, length, rate in planned:
        start = laid[-1].end_s if laid else 0.0
        crowd = users if rate is None else round(users * rate / USUAL)
        laid.append(
            Phase(name=called, start_s=start, end_s=round(start + 60 * length, 3), users=crowd, rate=rate)
        )
    return laid


def _planned(environment: Environment) -> list[Phase]:
    options: Any = environment.parsed_options
    users = options.num_users or (100 if SCENARIOS[options.scenario].rate is None else USERS)
    return phases(options.scenario, users, options.minutes)


class Planned(LoadTestShape):
    """As many users as the scenario has at this moment."""

    use_common_options = True

    def tick(self) -> tuple[int, float] | None:
        """The users of the phase, who all come, and leave, at once."""
        assert self.runner is not None
        now = self.get_run_time()
        planned = _planned(self.runner.environment)
        at_once = max(phase.users for phase in planned)
        for phase in planned:
            if now < phase.end_s:
                return phase.users, at_once
        return None


class MeetingApp(FastHttpUser):
    """One user of a meeting-notes app: three queries, one health check, one ingest."""

    # What is not answered after so long counts as a failure.
    network_timeout = 60.0
    connection_timeout = 60.0

    def on_start(self) -> None:
        """Users who come at once do not ask at once."""
        self._pace_s = self._own_pace_s()
        gevent.sleep(random.uniform(0, self._pace_s or WAIT_S[1]))
        self._due = time.perf_counter()

    def wait_time(self) -> float:
        """Until the user's next request is due; one that waited for an answer for longer than its pace does not wait."""
        if self._pace_s is None:
            return random.uniform(*WAIT_S)
        now = time.perf_counter()
        self._due = max(self._due + self._pace_s, now)
        return self._due - now

    def _own_pace_s(self) -> float | None:
        options: Any = self.environment.parsed_options
        if SCENARIOS[options.scenario].rate is None:
            return None
        return 60 * (options.num_users or USERS) / USUAL

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


class _Answers:
    """Every answer: seconds from the beginning to the request, path, status (0 for none), ms, and whether it says when to come again."""

    def __init__(self) -> None:
        self.started = time.time()
        self.rows: list[tuple[float, str, int, float, bool]] = []

    def add(self, start_time: float, name: str, response_time: float, response: Any, **_: object) -> None:
        status = getattr(response, "status_code", 0) or 0
        told = bool(status and response.headers and response.headers.get("Retry-After"))
        self.rows.append((round(start_time - self.started, 3), name, status, round(response_time, 2), told))


@events.test_start.add_listener
def _listen(environment: Environment, **_: object) -> None:
    options: Any = environment.parsed_options
    if not options.answers:
        return
    answers = _Answers()
    environment.events.request.add_listener(answers.add)

    def write(**_: object) -> None:
        told = {
            "started": answers.started,
            "phases": [asdict(phase) for phase in _planned(environment)],
            "answers": answers.rows,
        }
        Path(options.answers).write_text(json.dumps(told), encoding="utf-8")

    environment.events.quitting.add_listener(write)
