"""Settings: their sources in order, and refusal of everything unknown."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from cofio.errors import InvalidSettings
from cofio.settings import CONFIG_VARIABLE, SECRETS_VARIABLE, Settings, describe_settings, load_settings

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def bare_environment() -> Iterator[None]:
    """No COFIO_* variable is set before a test, and those of before are back after it."""
    kept = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("COFIO_")}
    yield
    for name in list(os.environ):
        if name.startswith("COFIO_"):
            del os.environ[name]
    os.environ.update(kept)


def test_default_file_equals_the_code() -> None:
    listed = tomllib.loads((ROOT / "config/default.toml").read_text(encoding="utf-8"))
    assert set(listed) == set(Settings.model_fields)
    assert Settings(**listed) == Settings()


def test_production_file_is_accepted_and_changes_something() -> None:
    os.environ[CONFIG_VARIABLE] = str(ROOT / "config/production.toml")
    settings = load_settings()
    assert settings.log_format == "json"
    assert settings.qdrant_url == "http://qdrant:6333"


def test_constructor_wins_over_environment_over_file_over_default(tmp_path: Path) -> None:
    file = tmp_path / "cofio.toml"
    file.write_text('port = 1001\ncache_entries = 7\nlog_level = "debug"\n', encoding="utf-8")
    os.environ |= {CONFIG_VARIABLE: str(file), "COFIO_PORT": "1002", "COFIO_CACHE_ENTRIES": "8"}
    settings = load_settings(port=1003, host=None)
    assert (settings.port, settings.cache_entries, settings.log_level) == (1003, 8, "debug")
    assert settings.host == "127.0.0.1"


def test_unknown_environment_variable_is_refused_by_name() -> None:
    os.environ["COFIO_PROT"] = "8001"
    with pytest.raises(InvalidSettings, match=r"COFIO_PROT.*known are.*COFIO_PORT") as refusal:
        load_settings()
    assert refusal.value.field == "COFIO_PROT"


def test_unknown_key_of_the_file_is_refused_by_name(tmp_path: Path) -> None:
    file = tmp_path / "cofio.toml"
    file.write_text("prot = 8001\n", encoding="utf-8")
    os.environ[CONFIG_VARIABLE] = str(file)
    with pytest.raises(InvalidSettings, match="unknown setting prot"):
        load_settings()


def test_unknown_override_is_refused_by_name() -> None:
    with pytest.raises(InvalidSettings, match="unknown setting prot"):
        load_settings(prot=8001)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("COFIO_PORT", "0"),
        ("COFIO_PORT", "many"),
        ("COFIO_PRECISION", "fp8"),
        ("COFIO_QUERY_RATE", "600 a minute"),
        ("COFIO_CACHE_TTL_S", "0"),
    ],
)
def test_impossible_value_is_refused_with_its_name(name: str, value: str) -> None:
    os.environ[name] = value
    with pytest.raises(InvalidSettings, match=name.removeprefix("COFIO_").lower()):
        load_settings()


@pytest.mark.parametrize("rate", ["", "5/second", "600/minute", "5/10 second"])
def test_rates(rate: str) -> None:
    assert load_settings(query_rate=rate).query_rate == rate


def test_missing_or_broken_file_is_refused(tmp_path: Path) -> None:
    os.environ[CONFIG_VARIABLE] = str(tmp_path / "absent.toml")
    with pytest.raises(InvalidSettings, match=r"absent\.toml"):
        load_settings()
    (tmp_path / "broken.toml").write_text("port = = 1", encoding="utf-8")
    os.environ[CONFIG_VARIABLE] = str(tmp_path / "broken.toml")
    with pytest.raises(InvalidSettings, match="not valid TOML"):
        load_settings()


def test_a_key_does_not_show_in_text() -> None:
    settings = load_settings(qdrant_api_key="open sesame")
    assert "sesame" not in repr(settings)
    assert settings.qdrant_api_key is not None
    assert settings.qdrant_api_key.get_secret_value() == "open sesame"


def test_a_secret_comes_from_a_file_of_its_name_and_gives_way_to_the_environment(tmp_path: Path) -> None:
    (tmp_path / "cofio_qdrant_api_key").write_text("open sesame\n", encoding="utf-8")
    (tmp_path / "cofio_jwt_secret").write_text("from a file", encoding="utf-8")
    (tmp_path / "redis_password").write_text("another program's", encoding="utf-8")
    file = tmp_path / "cofio.toml"
    file.write_text('qdrant_api_key = "of the settings file"\n', encoding="utf-8")  # pragma: allowlist secret
    os.environ |= {
        CONFIG_VARIABLE: str(file),
        SECRETS_VARIABLE: str(tmp_path),
        "COFIO_JWT_SECRET": "from the environment",  # pragma: allowlist secret
    }
    settings = load_settings()
    assert settings.qdrant_api_key is not None
    assert settings.qdrant_api_key.get_secret_value() == "open sesame"
    assert settings.jwt_secret is not None
    assert settings.jwt_secret.get_secret_value() == "from the environment"


def test_a_secret_that_names_no_setting_or_cannot_be_read_is_refused(tmp_path: Path) -> None:
    os.environ[SECRETS_VARIABLE] = str(tmp_path / "absent")
    with pytest.raises(InvalidSettings, match="cannot read the secrets") as refusal:
        load_settings()
    assert refusal.value.field == SECRETS_VARIABLE
    os.environ[SECRETS_VARIABLE] = str(tmp_path)
    (tmp_path / "cofio_jwt_secert").write_text("misspelt", encoding="utf-8")
    with pytest.raises(InvalidSettings, match=r"unknown setting in .*cofio_jwt_secert") as refusal:
        load_settings()
    assert refusal.value.field == "cofio_jwt_secert"


def test_every_setting_is_described_and_read_somewhere() -> None:
    sources = "\n".join(
        file.read_text(encoding="utf-8")
        for file in (ROOT / "src/cofio").rglob("*.py")
        if file.name != "settings.py"
    )
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert f"settings.{name}" in sources, f"nobody reads {name}"


def test_the_documented_table_is_the_one_that_the_code_has() -> None:
    page = (Path(__file__).parents[1] / "docs" / "configuration.md").read_text()
    assert describe_settings() in page
