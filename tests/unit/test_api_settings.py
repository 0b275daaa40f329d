import pytest

from kurir.api.settings import ApiSettings
from kurir.runtime.settings import SettingsRefused, load


def test_an_allow_list_is_read_entry_by_entry() -> None:
    assert load(ApiSettings, egress_allow=" 10.0.0.0/8 , 127.0.0.1:8099,").egress_allowed == (
        "10.0.0.0/8",
        "127.0.0.1:8099",
    )


def test_a_mistyped_allow_list_is_refused_at_start_by_its_name() -> None:
    with pytest.raises(SettingsRefused, match="KURIR_EGRESS_ALLOW"):
        load(ApiSettings, egress_allow="10.0.0.0/33")


def test_whose_words_a_host_speaks_is_read_by_host() -> None:
    assert load(ApiSettings, hosts="Evo.example.com=evolution, wa.example.com=fonnte").dialects_of_hosts == {
        "evo.example.com": "evolution",
        "wa.example.com": "fonnte",
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("hosts", "evo.example.com=klingon"),
        ("hosts", "=evolution"),
        ("trusted_proxies", "10.0.0.0/33"),
        ("trusted_proxies", "my-proxy"),
        ("anonymous_device", "acme"),
        ("requests_per_hour", "-1"),
    ],
)
def test_what_is_mistyped_about_other_gateways_is_refused_at_start_by_its_name(name: str, value: str) -> None:
    with pytest.raises(SettingsRefused, match=f"KURIR_{name.upper()}"):
        load(ApiSettings, **{name: value})
