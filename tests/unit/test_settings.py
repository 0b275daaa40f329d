"""Settings come from the environment, refuse nonsense with a sentence, and never show a secret."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from kurir.runtime.settings import RuntimeSettings, SettingsRefused, load, mask_url_password, summary


class ServiceSettings(RuntimeSettings):
    workers: int = 4
    admin_key: SecretStr | None = None


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NATS_URL", "NATS_CREDS", "MONGODB_URL", "MONGO_DRIVER", "LOG_LEVEL", "LOG_FORMAT"):
        monkeypatch.delenv(name, raising=False)
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "KURIR_ENVIRONMENT", "KURIR_MASTER_KEY"):
        monkeypatch.delenv(name, raising=False)


def test_without_an_environment_everything_is_local_and_strict() -> None:
    settings = load(RuntimeSettings)
    assert settings.nats_url == "nats://127.0.0.1:4222"
    assert settings.mongodb_url == "mongodb://127.0.0.1:27017/kurir"
    assert settings.mongo_driver == "motor"
    assert settings.environment == "production"
    assert settings.log_format == "json"
    assert settings.otel_exporter_otlp_endpoint is None


def test_variables_other_tools_define_go_by_their_own_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NATS_URL", "nats://bus:4222")
    monkeypatch.setenv("NATS_CREDS", "/run/nats.creds")
    monkeypatch.setenv("MONGODB_URL", "mongodb://store/kurir")
    monkeypatch.setenv("MONGO_DRIVER", "pymongo")
    monkeypatch.setenv("LOG_LEVEL", "DEBUG")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318")
    settings = load(RuntimeSettings)
    assert settings.nats_url == "nats://bus:4222"
    assert settings.nats_creds == Path("/run/nats.creds")
    assert settings.mongodb_url == "mongodb://store/kurir"
    assert settings.mongo_driver == "pymongo"
    assert settings.log_level == "DEBUG"
    assert settings.otel_exporter_otlp_endpoint == "http://collector:4318"


def test_a_service_adds_its_own_fields_under_the_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KURIR_WORKERS", "7")
    assert load(ServiceSettings).workers == 7


def test_overrides_win_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NATS_URL", "nats://bus:4222")
    monkeypatch.setenv("KURIR_WORKERS", "7")
    settings = load(ServiceSettings, nats_url="nats://other:4222", workers=1)
    assert (settings.nats_url, settings.workers) == ("nats://other:4222", 1)


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONGODB_URL", "")
    monkeypatch.setenv("KURIR_WORKERS", "")
    settings = load(ServiceSettings)
    assert (settings.mongodb_url, settings.workers) == ("mongodb://127.0.0.1:27017/kurir", 4)


def test_a_demo_logs_for_a_console_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KURIR_ENVIRONMENT", "demo")
    assert load(RuntimeSettings).log_format == "console"
    monkeypatch.setenv("LOG_FORMAT", "json")
    assert load(RuntimeSettings).log_format == "json"


def test_a_wrong_value_is_refused_by_the_name_of_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KURIR_WORKERS", "s3cret-in-the-wrong-place")
    monkeypatch.setenv("MONGO_DRIVER", "mongoose")
    with pytest.raises(SettingsRefused) as refused:
        load(ServiceSettings)
    assert "KURIR_WORKERS: " in str(refused.value)
    assert "MONGO_DRIVER: " in str(refused.value)
    assert "s3cret" not in str(refused.value)


def test_settings_cannot_be_changed_later() -> None:
    with pytest.raises(ValueError):
        load(RuntimeSettings).nats_url = "nats://elsewhere:4222"


def test_neither_summary_nor_repr_shows_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KURIR_MASTER_KEY", "hush-1")
    monkeypatch.setenv("KURIR_ADMIN_KEY", "hush-2")
    monkeypatch.setenv("MONGODB_URL", "mongodb://user:hush-3@store/kurir")
    monkeypatch.setenv("NATS_URL", "nats://hush-4@bus:4222")
    settings = load(ServiceSettings)
    for shown in (str(summary(settings)), repr(settings), str(settings)):
        assert "hush" not in shown
        assert "mongodb://user:***@store/kurir" in shown
        assert "nats://***@bus:4222" in shown


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("nats://127.0.0.1:4222", "nats://127.0.0.1:4222"),
        ("nats://a:p@h1:4222,nats://a:p@h2:4222", "nats://a:***@h1:4222,nats://a:***@h2:4222"),
        ("postgres://u:pa:ss@db/x?y=1", "postgres://u:***@db/x?y=1"),
        ("mail me @ home", "mail me @ home"),
        ("https://hook.test/path?to=me@example.com", "https://hook.test/path?to=me@example.com"),
    ],
)
def test_passwords_in_urls_are_masked_and_nothing_else(url: str, shown: str) -> None:
    assert mask_url_password(url) == shown
