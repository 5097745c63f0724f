"""The Dockerfile: what a linter finds, and what can be asked of it without building (the drill `image` builds it)."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Final

import dockerfile
from conftest import ROOT

STEPS: Final = dockerfile.parse_file(str(ROOT / "Dockerfile"))
# Of the stage that is kept.
LAST: Final = STEPS[max(at for at, step in enumerate(STEPS) if step.cmd == "FROM") :]


def test_hadolint_finds_nothing() -> None:
    linter = Path(sys.executable).with_name("hadolint")
    told = subprocess.run([linter, ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (told.returncode, told.stdout) == (0, "")
    bad = subprocess.run([linter, "-"], input="FROM debian\n", capture_output=True, text=True, check=False)
    assert bad.returncode == 1


def test_what_the_build_is_given_exists_and_is_enough() -> None:
    lines = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    given = [line[1:] for line in lines if line.startswith("!")]
    assert "*" in lines
    assert all((ROOT / path).exists() for path in given)
    text = (ROOT / "Dockerfile").read_text("utf-8")
    named = re.findall(r"\b((?:config|scripts)/[\w./]+)", text)
    assert named
    for path in named:
        assert any(path == one or path.startswith(f"{one}/") for one in given), path


def test_the_image_runs_as_nobody_s_user_in_the_folders_of_the_settings() -> None:
    (user,) = [step.value[0] for step in LAST if step.cmd == "USER"]
    assert user == "10001:10001"
    settings = tomllib.loads((ROOT / "config" / "production.toml").read_text("utf-8"))
    made = next(step.value[0] for step in LAST if step.cmd == "RUN")
    assert f"{settings['data_dir']} {settings['backup_dir']}" in made
    assert settings["model_dir"] == "/opt/cofio/models"
    assert [step.value for step in LAST if step.cmd == "ENTRYPOINT"] == [("/opt/cofio/start",)]
    assert os.access(ROOT / "config" / "image" / "start", os.X_OK)
