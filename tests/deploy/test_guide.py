"""docs/deployment.md and the unit for systemd: what they name exists, and fits the settings."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest
from conftest import ROOT

from cofio.settings import Settings

GUIDE: Final = (ROOT / "docs" / "deployment.md").read_text("utf-8")
UNIT: Final = (ROOT / "config" / "cofio.service").read_text("utf-8")


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_link_of_the_guide_leads_somewhere() -> None:
    links = re.findall(r"\]\(([^)]+)\)", GUIDE)
    assert links
    for link in links:
        path, _, anchor = link.partition("#")
        page = (ROOT / "docs" / path).resolve() if path else ROOT / "docs" / "deployment.md"
        assert page.exists(), link
        assert not anchor or anchor in _anchors(page), link


def test_settings_files_and_build_arguments_that_the_guide_names_exist() -> None:
    for name in set(re.findall(r"COFIO_([A-Z_]+)\b", GUIDE)) - {"SECRETS_DIR", "VERSION", "CPUS", "MEMORY"}:
        assert name.lower() in Settings.model_fields, name
    compose = (ROOT / "docker-compose.prod.yml").read_text("utf-8")
    for name in ("VERSION", "WORKERS", "CPUS", "MEMORY", "ENCODER_THREADS"):
        assert f"${{COFIO_{name}:-" in compose
    dockerfile = (ROOT / "Dockerfile").read_text("utf-8")
    for argument in re.findall(r"--build-arg (\w+)=", GUIDE):
        assert f"ARG {argument}=" in dockerfile, argument
    for path in set(re.findall(r"\b((?:config|scripts|tests)/[\w./]+\w)", GUIDE)):
        assert (ROOT / path).exists(), path


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / "cofio.service"
    # The program is where it is installed, which is not here.
    unit.write_text(re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", UNIT, flags=re.MULTILINE), "utf-8")
    told = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    assert (told.returncode, told.stderr) == (0, "")


def test_the_unit_gives_the_service_its_time_and_settings_that_exist() -> None:
    given = dict(re.findall(r"\bCOFIO_(\w+)=(\S+)", UNIT))
    settings = Settings.model_validate({name.lower(): value for name, value in given.items()})
    stop = re.search(r"^TimeoutStopSec=(\d+)$", UNIT, re.MULTILINE)
    assert stop is not None
    assert float(stop[1]) > settings.drain_s + settings.stop_grace_s
    assert f"ReadWritePaths={settings.backup_dir}" in UNIT
    assert settings.data_dir == Path("/var/lib/cofio")
