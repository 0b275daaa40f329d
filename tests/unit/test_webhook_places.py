"""Places for requests: so many in all, so many of one tenant."""

import asyncio

import pytest

from kurir.webhook_dispatcher.places import Places


class Crowd:
    """Requests that last until they are let go."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._tasks: list[asyncio.Task[None]] = []
        self.let_go = asyncio.Event()
        self.under_way: list[str] = []

    async def ask(self, tenant: str, count: int) -> None:
        self._tasks += [asyncio.create_task(self._request(tenant)) for _ in range(count)]
        for _ in range(3):
            await asyncio.sleep(0)  # everybody comes as far as they can

    async def _request(self, tenant: str) -> None:
        if not self._places.take_now(tenant):
            await self._places.take(tenant)
        self.under_way.append(tenant)
        await self.let_go.wait()
        self._places.give_back(tenant)

    async def end(self) -> None:
        self.let_go.set()
        await asyncio.gather(*self._tasks)


async def test_a_tenant_gets_its_share_and_leaves_the_rest_to_others() -> None:
    crowd = Crowd(Places(in_all=6, of_tenant=4))
    await crowd.ask("slow", 100)
    assert crowd.under_way == ["slow"] * 4
    await crowd.ask("other", 2)
    assert crowd.under_way[4:] == ["other"] * 2
    await crowd.ask("third", 1)
    assert len(crowd.under_way) == 6, "there are no more places"
    await crowd.end()
    assert sorted(crowd.under_way) == sorted(["slow"] * 100 + ["other"] * 2 + ["third"])


async def test_nothing_is_kept_of_who_is_gone_or_gave_up() -> None:
    places = Places(in_all=1, of_tenant=1)
    crowd = Crowd(places)
    await crowd.ask("first", 1)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await places.take("second")
    await crowd.end()
    assert places._tenants == {}
    assert places.take_now("second")
    places.give_back("second")
    assert places._tenants == {}
