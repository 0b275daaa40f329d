"""In whose words an error at a path is told: each API's own, for unknown paths and methods too. Pure."""

from kurir.api.problems import Words, native_answer

WORDS: tuple[tuple[str, Words], ...] = ()
"""What a path begins with, and how its API tells a problem; the longest that fits counts. A prefix that ends in a
slash also stands for the path without it."""


def words_of(path: str) -> Words:
    """The words of the API that answers at `path`, the native ones where no other does."""
    fitting = [(prefix, words) for prefix, words in WORDS if f"{path}/".startswith(prefix)]
    return max(fitting, key=lambda row: len(row[0]))[1] if fitting else native_answer
