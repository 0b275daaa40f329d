"""The engines of one shard: started when the first device needs them."""

import asyncio
from collections.abc import Callable, Mapping

import structlog

from kurir.session_node.engines.engine import Engine

log = structlog.get_logger(__name__)

LONGEST_STOP_S = 10.0


class EngineUnavailable(Exception):
    """This node does not have that engine, or cannot start it; the text says why."""


class EngineRoom:
    """`builders` make an engine by its name."""

    def __init__(self, builders: Mapping[str, Callable[[], Engine]]) -> None:
        self._builders = builders
        self._engines: dict[str, Engine] = {}
        self._starting = asyncio.Lock()

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._builders)

    async def engine(self, name: str) -> Engine:
        """The engine, started. Raises EngineUnavailable; asked again, it is tried again."""
        found = self._engines.get(name)
        if found is not None:
            return found
        async with self._starting:
            if name not in self._engines:
                self._engines[name] = await self._started(name)
            return self._engines[name]

    async def _started(self, name: str) -> Engine:
        build = self._builders.get(name)
        if build is None:
            raise EngineUnavailable(f"this node has no engine {name}")
        try:
            engine = build()
            await engine.start()
        except Exception as error:
            raise EngineUnavailable(f"the engine {name} does not start: {error}") from error
        return engine

    async def stop(self) -> None:
        """Stop every engine that was started; one that does not stop keeps none of the others from it."""
        engines, self._engines = self._engines, {}
        for name, engine in engines.items():
            try:
                async with asyncio.timeout(LONGEST_STOP_S):
                    await engine.stop()
            except Exception as error:
                log.error("engine.not_stopped", engine=name, error=repr(error))
