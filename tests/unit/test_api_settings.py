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
