"""What several tests share: one real service, one small labelled folder, one small benchmark."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from labelled_folder import write_labelled
from ports import free_port

from cofio.bench.bench import QUICK, Bench
from cofio.settings import Settings

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A process of its own with the real model and the sample meetings loaded."""
    folder = tmp_path_factory.mktemp("service")
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "cofio",
        "serve",
        "--port",
        str(port),
        "--data-dir",
        str(folder / "store"),
    ]
    command += ["--load", str(ROOT / "data" / "meetings")]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command,
            stdout=log,
            stderr=log,
            cwd=ROOT,
            env={**os.environ, "COFIO_QUERY_RATE": "", "COFIO_INGEST_RATE": ""},
        )
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            deadline = time.monotonic() + 120
            while True:
                try:
                    if client.get("/health/ready").status_code == 200:
                        break
                except httpx.TransportError:
                    pass
                assert process.poll() is None, (folder / "log").read_text()
                assert time.monotonic() < deadline, "the service did not become ready"
                time.sleep(0.2)
            yield client
        process.terminate()
        assert process.wait(30) == 0, (folder / "log").read_text()
    assert "Traceback" not in (folder / "log").read_text()


@pytest.fixture(scope="session")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a few labelled meetings, conversations and passages."""
    folder = tmp_path_factory.mktemp("labelled")
    write_labelled(folder)
    return folder


@pytest.fixture(scope="session")
def small_bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """A benchmark that takes no time."""
    return Bench(
        data=ROOT / "data",
        cache=tmp_path_factory.mktemp("bench"),
        settings=Settings(model_dir=ROOT / "models", encoder_threads=1),
        peers=False,
        effort=replace(
            QUICK,
            rounds=3,
            memories=150,
            pool=120,
            bulk_texts=4,
            ingest_utterances=20,
            load_s=0.1,
            load_rounds=1,
            stability_queries=8,
            stability_ingests=2,
            stability_memories=150,
        ),
        sizes=(50, 150),
    )
