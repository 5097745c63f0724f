"""Runs one drill by its name: `scripts/drill NAME [options]`; exits with 1 when it found what must not be."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from types import ModuleType
from typing import Final

from cofio.provenance import ProcessorTime, commit, stolen_percent
from drills import alerts, contention, damage, fuzz_http, fuzz_parsers, image, kill, restore, rollback
from drills.figures import PAGE, Circumstances, machine, page, record, tell

DRILLS: Final[Mapping[str, ModuleType]] = {
    "kill": kill,
    "damage": damage,
    "restore": restore,
    "rollback": rollback,
    "contention": contention,
    "fuzz-http": fuzz_http,
    "fuzz-parsers": fuzz_parsers,
    "image": image,
    "alerts": alerts,
}


def main(arguments: Sequence[str]) -> int:
    """The exit code after the drill was run and its figures were printed."""
    options = _parser().parse_args(arguments)
    started, code, processors = time.perf_counter(), commit(), ProcessorTime.now()
    found = DRILLS[options.drill].run(options)
    at = Circumstances(
        drill=options.drill,
        command=shlex.join(["scripts/drill", *_without_record(arguments)]),
        commit=code,
        date=datetime.now(UTC).isoformat(timespec="minutes"),
        seconds=round(time.perf_counter() - started, 1),
        machine=machine(),
        stolen_percent=stolen_percent(processors, ProcessorTime.now()),
    )
    print("\n".join(tell(at, found)))
    if options.record is not None:
        print(f"\nkept in {record(at, found, options.record or None)}")
        PAGE.write_text(page(descriptions()), encoding="utf-8")
    return 0 if found.passed else 1


def descriptions() -> Mapping[str, str]:
    """What each drill does, in its own words."""
    return {name: module.__doc__ or "" for name, module in DRILLS.items()}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/drill", description="Break cofio on purpose, and count.")
    drills = parser.add_subparsers(dest="drill", required=True, metavar="NAME")
    for name, module in DRILLS.items():
        told = (module.__doc__ or "").strip()
        own = drills.add_parser(
            name,
            help=told.splitlines()[0],
            description=told,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        own.add_argument(
            "--record",
            nargs="?",
            const="",
            metavar="LABEL",
            help="keep the figures, under the label beside others of this drill, and write docs/reliability.md anew",
        )
        module.add_options(own)
    return parser


def _without_record(arguments: Sequence[str]) -> list[str]:
    kept = [argument for argument in arguments if not argument.startswith("--record=")]
    if "--record" in kept:
        at = kept.index("--record")
        labelled = at + 1 < len(kept) and not kept[at + 1].startswith("-")
        del kept[at : at + 1 + labelled]
    return kept


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
