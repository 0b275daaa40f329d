"""Client snippets of other gateways' documents, made into programs and run.

The snippets lie in tests/examples/snippets/<dialect>/ as they are printed; of Python and Go the indentation is ours,
because the documents came without it. At run time the document's base URL becomes the live system's, and what the
document itself marks as a placeholder (`your_api_key`, `/path/to/`) a value. What is printed as a fragment gets what
its reader would write around it: imports, the variables that it names, and a line that prints the answer.
"""

import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.support.printed_examples import file_of
from tests.support.receiver_program import ROOT, built_with_go, node_modules, program_environment, runtime

SNIPPETS = ROOT / "tests" / "examples" / "snippets"
ENDS_WITHIN_S = 100.0

LARAVEL = """<?php
require '/usr/share/php/GuzzleHttp/autoload.php';
require '/usr/share/php/Illuminate/Http/autoload.php';
use Illuminate\\Support\\Facades\\Http;
Illuminate\\Support\\Facades\\Facade::setFacadeApplication(new ArrayObject([
    Illuminate\\Http\\Client\\Factory::class => new Illuminate\\Http\\Client\\Factory(),
]));
"""
"""Laravel's own HTTP client, without the rest of Laravel."""


class Programs:
    """The snippets of one dialect, run in `folder`, where the files that they send lie."""

    def __init__(self, dialect: str, folder: Path, replacing: Mapping[str, str]) -> None:
        self._dialect = dialect
        self.folder = folder
        self._replacing = replacing

    def files(self, *names: str, size: int = 2000) -> None:
        """Lay files of these names into the folder."""
        for name in names:
            (self.folder / name).write_bytes(file_of(name, size))

    def text(self, name: str, **placeholders: str) -> str:
        """A snippet, led to the live system."""
        text = (SNIPPETS / self._dialect / name).read_text()
        for printed, value in {**self._replacing, **placeholders}.items():
            text = text.replace(printed, value)
        return text

    async def python(self, text: str) -> str:
        return await self._run(sys.executable, self._file("snippet.py", text))

    async def node(self, text: str, *, name: str = "snippet.cjs", **beside: str) -> str:
        """`beside` are further modules, by name without `.cjs`. A name that ends in .mjs makes it a module."""
        modules = self.folder / "node_modules"
        if not modules.exists():
            modules.symlink_to(await asyncio.to_thread(node_modules))
        for other, source in beside.items():
            self._file(f"{other}.cjs", source)
        return await self._run(runtime("node"), self._file(name, text))

    async def php(self, text: str) -> str:
        return await self._run(runtime("php"), self._file("snippet.php", text))

    async def go(self, text: str) -> str:
        source = Path(self._file("snippet.go", text))
        return await self._run(str(await asyncio.to_thread(built_with_go, source)))

    async def shell(self, text: str) -> str:
        return await self._run("bash", "-e", self._file("snippet.sh", text))

    def _file(self, name: str, text: str) -> str:
        (self.folder / name).write_text(text)
        return str(self.folder / name)

    async def _run(self, *command: str) -> str:
        """What a program that ended well wrote to its output."""
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=self.folder,
            env=program_environment({"no_proxy": "*", "NO_PROXY": "*"}),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            output, errors = await asyncio.wait_for(process.communicate(), ENDS_WITHIN_S)
        except TimeoutError:
            process.kill()
            raise
        said = output.decode()
        print(said)  # shown when a test fails, or with -rP
        assert process.returncode == 0, f"{command}: {said}\n{errors.decode()}"
        return said
