"""Has the library make, or bring to its version, its own tables in a database: no statement of ours ever does.

Each time in a process of its own, which ends: the library never closes a database, and reaches no network for this.
"""

import os
import subprocess
import sys
from pathlib import Path

from kurir.session_node.engines.neonize.key_rows import KeysUnreadable

MADE_WITHIN_S = 60.0

_CHILD = ("-m", "kurir.session_node.engines.neonize.library_tables")


def make_tables(database: str) -> None:
    """`database` is a PostgreSQL URL for lib/pq or the path of a SQLite file. Raises KeysUnreadable."""
    child = subprocess.run(  # noqa: S603 - ourselves
        [sys.executable, *_CHILD],
        input=database,
        capture_output=True,
        text=True,
        timeout=MADE_WITHIN_S,
        check=False,
    )
    if child.returncode != 0:
        said = child.stderr.strip().rpartition("\n")[2]
        raise KeysUnreadable(f"the library does not make its tables: {said or f'it ended with {child.returncode}'}")


def file_database(path: Path) -> str:
    """The name of a file for the library, in one piece after it was closed."""
    return f"{path}?_journal_mode=DELETE&_foreign_keys=on&x="


def main() -> None:
    from kurir.session_node.engines.neonize import library

    # The library prints to stdout; what is meant for our parent is on stderr.
    database = sys.stdin.read()
    try:
        error = library.load().list_devices(database)
    except library.LibraryUnavailable as unavailable:
        error = str(unavailable)
    sys.stderr.write(error)
    sys.stderr.flush()
    os._exit(1 if error else 0)  # its threads never end


if __name__ == "__main__":
    main()
