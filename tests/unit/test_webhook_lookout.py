"""What is looked at again and again is looked at until the end, whatever one look meets."""

import asyncio

from kurir.webhook_dispatcher.lookout import Lookout
from tests.support.conditions import until


async def test_a_look_that_fails_is_not_the_last_one() -> None:
    looks: list[int] = []

    async def look() -> None:
        looks.append(len(looks))
        if len(looks) == 1:
            raise ValueError("what nobody thought of")

    lookout = Lookout("test", look, every_s=0.001)
    lookout.start()
    await until("it looked again", lambda: len(looks) >= 3)
    await lookout.stop()
    assert all(task.get_name() != "test" for task in asyncio.all_tasks())


async def test_the_first_look_may_wait() -> None:
    looks: list[int] = []

    async def look() -> None:
        looks.append(len(looks))

    lookout = Lookout("test", look, every_s=60)
    lookout.start(at_once=False)
    await lookout.stop()
    assert looks == []
