"""The table of other gateways' endpoints is made of tests that passed, and has no empty cell."""

import pytest

from tests.support.compatibility.table import TITLES, Row, read_documents, rendered, rows_of

pytest_plugins = ["pytester"]

CONFTEST = "from tests.support.compatibility.table import pytest_addoption, pytest_configure"
ONE_TEST = """
import pytest

@pytest.mark.shows("fonnte", "POST /send", "target")
def test_it_is_sent():
    assert {}
"""


def test_a_marker_claims_its_endpoint_and_each_field() -> None:
    assert rows_of("fonnte", "POST /send", "to") == [Row("fonnte", "POST /send", ""), Row("fonnte", "POST /send", "to")]


def test_a_marker_of_an_unknown_dialect_is_refused() -> None:
    with pytest.raises(pytest.UsageError, match="there is no dialect"):
        rows_of("fonte", "POST /send")


def test_every_gateway_has_a_document() -> None:
    assert {row.dialect for row in read_documents()} == set(TITLES)


def test_what_tests_show_beside_the_document_has_a_table_of_its_own() -> None:
    named, more = Row("fonnte", "POST /send", "to"), Row("fonnte", "POST /qr", "type")
    page = rendered([named], {named: {"tests/a.py::test_a"}, more: {"tests/b.py::test_b"}})
    before, _, after = page.partition("Beside the document")
    assert "[test_a](../../tests/a.py)" in before
    assert "[test_b](../../tests/b.py)" in after


@pytest.mark.parametrize("passes", [True, False])
def test_only_a_test_that_passed_fills_a_cell(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, passes: bool
) -> None:
    documents = pytester.path / "documents.toml"
    documents.write_text('[fonnte."POST /send"]\nfields = ["target"]\n')
    table = pytester.path / "compatibility.md"
    monkeypatch.setattr("tests.support.compatibility.table.DOCUMENTS", documents)
    monkeypatch.setattr("tests.support.compatibility.table.TABLE", table)
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(ONE_TEST.format(passes))
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function\nmarkers =\n    shows")
    result = pytester.runpytest_inprocess("--compatibility=write")
    assert (result.ret == 0) is passes
    assert table.exists() is passes
    if passes:
        assert pytester.runpytest_inprocess("--compatibility=check").ret == 0
        table.write_text("another")
        assert pytester.runpytest_inprocess("--compatibility=check").ret == 1
