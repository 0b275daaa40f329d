"""What `kurir up` says to the person in front of it."""

from rich.console import Console
from rich.markup import escape

console = Console(highlight=False, soft_wrap=True)


def say(text: str) -> None:
    """A step that worked."""
    console.print(f"[green]✓[/] {escape(text)}")


def say_plain(text: str) -> None:
    """Lines that a person copies, or scans, as they are."""
    console.print(text, markup=False)
