"""What operators are told to type exists."""

import re
from pathlib import Path

import click
import pytest

from kurir.cli.main import main

DOCS = Path(__file__).parents[2] / "docs" / "operators"
CODE = re.compile(r"```sh\n(.*?)```|`([^`\n]+)`", re.DOTALL)
COMMAND = re.compile(r"(?:^|[\s&|(])kurir ((?:[a-z][a-z-]*)(?: [a-z][a-z-]*)?)", re.MULTILINE)


def commands_of(page: Path) -> set[str]:
    code = [block or span for block, span in CODE.findall(page.read_text())]
    return {words for part in code for words in COMMAND.findall(part)}


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.stem)
def test_every_command_of_the_operators_pages_exists(page: Path) -> None:
    context = click.Context(main)
    for words in commands_of(page):
        name, _, rest = words.partition(" ")
        command = main.get_command(context, name)
        assert command is not None, f"{page.name}: kurir {words}"
        if rest and isinstance(command, click.Group):
            assert command.get_command(context, rest) is not None, f"{page.name}: kurir {words}"


def test_the_commands_of_the_runbooks_are_found() -> None:
    assert {"doctor", "topology apply", "nodes drain", "nodes uncordon", "nodes list"} <= commands_of(
        DOCS / "runbooks.md"
    )


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.stem)
def test_every_link_of_the_operators_pages_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+\.md)", page.read_text()):
        assert (page.parent / target).exists(), f"{page.name}: {target}"
