"""The URL of the device store: what is taken, what each driver is given, and that nobody sees its password."""

from urllib.parse import parse_qs, urlsplit

import pytest

from kurir.runtime.settings import SettingsRefused, load, summary
from kurir.session_node.engines.neonize.postgres_store import PostgresStore, url_for_asyncpg, url_for_library
from kurir.session_node.engines.neonize.sqlite_store import SqliteStore
from kurir.session_node.settings import SessionNodeSettings
from kurir.session_node.shard import device_store

URL = "postgres://kurir:p%40ss%2Fword@db:5432/kurir"


def asked(url: str) -> dict[str, list[str]]:
    return parse_qs(urlsplit(url).query)


def test_the_store_is_postgres_where_a_url_says_so_and_files_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(device_store(load(SessionNodeSettings)), SqliteStore)
    monkeypatch.setenv("DEVICE_STORE_URL", URL)
    assert isinstance(device_store(load(SessionNodeSettings)), PostgresStore)


def test_the_url_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEVICE_STORE_URL", f"{URL}?sslpassword=hidden")
    settings = load(SessionNodeSettings)
    for shown in (repr(settings), str(summary(settings)), repr(PostgresStore(URL))):
        assert "p%40ss" not in shown
        assert "hidden" not in shown


@pytest.mark.parametrize(
    "url",
    [
        "mysql://u:s3cret@db/kurir",
        "/var/lib/kurir?s3cret",
        "postgres://u:s3cret@db",
        "postgres://u:s3cret@db/",
        "postgres:///s3cret",
        "postgres://u:s3cret@db:port/kurir",
        "postgres://u:s3/cret@db/kurir",
        "postgres://u:s3cret@[db/kurir",
    ],
)
def test_what_is_no_database_is_refused_by_the_name_of_the_variable(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("DEVICE_STORE_URL", url)
    with pytest.raises(SettingsRefused, match=r"DEVICE_STORE_URL: .*percent-encoded") as refused:
        load(SessionNodeSettings)
    assert "s3" not in str(refused.value)


def test_the_library_is_told_not_to_wait_and_not_to_hold_what_it_does_not_use() -> None:
    url = url_for_library(URL, "dev_1")
    assert url.startswith(f"{URL}?")
    assert asked(url) == {
        "connect_timeout": ["5"],
        "idle_session_timeout": ["60s"],
        "binary_parameters": ["yes"],
        "application_name": ["kurir dev_1"],
    }


def test_what_the_operator_says_in_the_url_counts() -> None:
    url = url_for_library(f"{URL}?sslmode=verify-full&sslrootcert=/ca.pem&idle_session_timeout=5s", "d")
    assert asked(url)["sslmode"] == ["verify-full"]
    assert asked(url)["sslrootcert"] == ["/ca.pem"]
    assert asked(url)["idle_session_timeout"] == ["5s"]


def test_both_drivers_demand_tls_unless_told_otherwise() -> None:
    """lib/pq demands it by itself; asyncpg would go on without."""
    assert "sslmode" not in asked(url_for_library(URL, "d"))
    assert asked(url_for_asyncpg(URL)) == {"sslmode": ["require"]}
    given = f"{URL}?sslmode=disable&connect_timeout=3&binary_parameters=no"
    assert asked(url_for_asyncpg(given)) == {"sslmode": ["disable"]}
