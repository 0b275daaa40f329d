"""What every command of the api's needs: the bus that the environment names, and errors as one sentence."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from kurir.api.problems import Problem
from kurir.api.settings import ApiSettings
from kurir.runtime import command_line
from kurir.runtime.broker import Bus
from kurir.runtime.command_line import ACTOR, started
from kurir.runtime.secrets import MasterKeyRefused

__all__ = ["ACTOR", "run", "started"]

T = TypeVar("T")


def run(work: Callable[[Bus], Awaitable[T]]) -> T:
    """Do `work` over the bus that the environment names; what goes wrong becomes one sentence and exit code 1."""
    return command_line.run(ApiSettings, lambda bus, _: work(bus), Problem, MasterKeyRefused)
