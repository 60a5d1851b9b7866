"""Settings: groups of their own, one description each, variables that keep their names."""

import logging
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from memos_assets.errors import UsageError
from memos_assets.settings import PROJECT_ROOT, Settings, load_settings
from memos_assets.settings.alerts import AlertSettings
from memos_assets.settings.composed import variable_of
from memos_assets.settings.database import DatabaseSettings
from memos_assets.settings.group import SettingsGroup
from memos_assets.settings.state import StateSettings

#: People have them in their shells and units.
VARIABLES = {
    *("DAGSTER_HOME", "MEMOS_ALERT_WEBHOOK", "MEMOS_APPLICATION_TABLES", "MEMOS_ARCHIVE"),
    "MEMOS_ARCHIVE_GRACE_DAYS",
    *("MEMOS_API_HOST", "MEMOS_API_PORT", "MEMOS_API_MOST_BYTES", "MEMOS_API_MOST_REQUESTS"),
    *("MEMOS_API_SECONDS", "MEMOS_API_STOP_SECONDS", "MEMOS_API_TOKEN", "MEMOS_API_JWT_KEY"),
    *("MEMOS_API_JWT_ALGORITHM", "MEMOS_API_JWT_AUDIENCE"),
    *("MEMOS_BACKUP", "MEMOS_DATA", "MEMOS_DATABASE_URL", "MEMOS_EMBEDDER"),
    *("MEMOS_EMBEDDER_DIMENSION", "MEMOS_EMBEDDER_KEY", "MEMOS_EMBEDDER_MODEL"),
    *("MEMOS_EMBEDDER_TIMEOUT_SECONDS", "MEMOS_EMBEDDER_URL", "MEMOS_ENCODINGS", "MEMOS_HOME"),
    *("MEMOS_ENCRYPTION_KEY", "MEMOS_ENCRYPTION_SALT", "MEMOS_MEMORY_KEYS"),
    *("MEMOS_KEEP_VERSIONS_DAYS", "MEMOS_LOCAL_ZONE", "MEMOS_LOCK_TIMEOUT_MS"),
    *("MEMOS_MAINTENANCE_WORK_MEM_MB", "MEMOS_MAX_OVERFLOW", "MEMOS_POOL_RECYCLE_SECONDS"),
    *("MEMOS_POOL_SIZE", "MEMOS_POOL_TIMEOUT_SECONDS", "MEMOS_SWAP_TIMEOUT_SECONDS"),
    *("MEMOS_SESSIONS_PATH", "MEMOS_SESSIONS_MADE_IN", "MEMOS_GOLDEN_QUERIES"),
    *("MEMOS_OUTBOX_MINUTES", "MEMOS_EMBEDDER_NEXT", "MEMOS_CACHE_PAIRS"),
    *("MEMOS_GENERATOR", "MEMOS_GENERATOR_MODEL", "MEMOS_GENERATOR_URL", "MEMOS_GENERATOR_KEY"),
    "MEMOS_GENERATOR_TIMEOUT_SECONDS",
    *("MEMOS_SNAPSHOTS_URL", "MEMOS_SNAPSHOTS_CRON", "MEMOS_SNAPSHOTS_FIRST_DAY"),
    *("MEMOS_SNAPSHOTS_KEEP_DAILY", "MEMOS_SNAPSHOTS_KEEP_WEEKLY", "MEMOS_SNAPSHOTS_KEEP_MONTHLY"),
    *("MEMOS_SNAPSHOTS_GRACE_HOURS", "MEMOS_SNAPSHOTS_FRESH_HOURS"),
}
GROUPS = [base for base in Settings.__bases__ if issubclass(base, SettingsGroup)]
SECRET = "s3kret"


def test_variables_keep_their_names() -> None:
    assert {variable_of(name) for name in Settings.model_fields} == VARIABLES


def test_every_field_belongs_to_one_group_and_has_one_sentence() -> None:
    fields = [name for group in GROUPS for name in group.model_fields]
    assert sorted(fields) == sorted(Settings.model_fields)
    assert len(set(fields)) == len(fields)
    for name, field in Settings.model_fields.items():
        said = field.description or ""
        assert said.endswith("."), name
        assert said[0].isupper() or said.startswith("auto: "), name


def test_a_group_reads_its_variables_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMOS_POOL_SIZE", "3")
    monkeypatch.setenv("MEMOS_EMBEDDER", "nonsense")
    assert DatabaseSettings().pool_size == 3
    with pytest.raises(UsageError, match=r"^M501 MEMOS_EMBEDDER: "):
        load_settings()


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("MEMOS_POOL_SIZE", "0", "greater than or equal to 1"),
        ("MEMOS_LOCAL_ZONE", "Mars", "'Mars' is not an IANA time zone"),
        ("MEMOS_ENCODINGS", "a.b=float16", "is not SOURCE.TABLE.COLUMN=ENCODING"),
        ("MEMOS_BACKUP", "never", "'auto' or 'skip'"),
        ("MEMOS_EMBEDDER_URL", f"http://me:{SECRET}@host", "a key belongs into MEMOS_EMBEDDER_KEY"),
    ],
)
def test_a_variable_that_does_not_parse_is_m501_and_its_value_may_be_secret(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, said: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(UsageError) as caught:
        load_settings()
    assert str(caught.value).startswith(f"M501 {variable}: ")
    assert said in str(caught.value)
    assert f"Fix: correct or unset {variable}" in str(caught.value)
    assert SECRET not in str(caught.value)


def test_dagster_home_is_named_by_its_own_variable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    assert load_settings().dagster_home == tmp_path
    monkeypatch.delenv("DAGSTER_HOME")
    assert load_settings().dagster_home == PROJECT_ROOT


def test_a_variable_that_is_set_to_nothing_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    optional = [
        *("database_url", "alert_webhook", "archive", "embedder", "embedder_model"),
        *("embedder_url", "embedder_key", "embedder_dimension"),
    ]
    for name in optional:
        monkeypatch.setenv(variable_of(name), "")
    settings = load_settings()
    assert [getattr(settings, name) for name in optional] == [None] * len(optional)


def test_lists_are_separated_by_colons(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMOS_DATA", "/a:b=/c::")
    assert load_settings().data == ("/a", "b=/c")


def test_folders_are_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    state = StateSettings(home=Path("state"), archive=Path("~/old"))
    assert (state.home, state.archive_folder) == (tmp_path / "state", tmp_path / "me" / "old")
    assert StateSettings(home=Path("state")).archive_folder == tmp_path / "state" / "archive"
    assert state.pins_folder == tmp_path / "state" / "pins"


def test_the_checkout_is_the_folder_of_pyproject() -> None:
    assert (PROJECT_ROOT / "pyproject.toml").is_file()
    assert Settings().home == PROJECT_ROOT / ".memos"


def test_settings_do_not_change_and_secrets_do_not_show(caplog: pytest.LogCaptureFixture) -> None:
    settings = Settings(
        database_url=SecretStr(SECRET),
        alert_webhook=SecretStr(SECRET),
        embedder_key=SecretStr(SECRET),
    )
    with pytest.raises(ValidationError):
        settings.pool_size = 1  # type: ignore[misc]  # refused at run time, too
    logging.getLogger(__name__).warning("%r %s", settings, AlertSettings())
    assert SECRET not in caplog.text + str(settings.model_dump())
