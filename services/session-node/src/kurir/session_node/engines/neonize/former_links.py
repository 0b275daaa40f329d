"""Links that were stopped and still hang in a dial: one that connects late takes the connection from its successor."""

import logging

from kurir.session_node.engines.neonize.link import Link

log = logging.getLogger(__name__)

STOP_WAIT_S = 5.0  # for one that may hang in a dial
CLOSE_WAIT_S = 20.0  # for one that is connected: whatsmeow gives the server 5 s to say goodbye, once it gets to it
LEAVE_TIMEOUT_S = 120.0  # Go gives a proxy a minute to answer, the kernel two for a connection


class FormerLinks:
    """Of all devices of the process; a device is a tenant and an id."""

    def __init__(self) -> None:
        self._leaving: dict[tuple[str, str], Link] = {}

    async def stop(self, device: tuple[str, str], link: Link, *, is_connected: bool) -> None:
        """Stop a device's link; one that hangs in a dial is remembered until it is gone.

        One that is connected is waited for longer: until it is not, nobody else may speak for the device.
        """
        await link.stop(CLOSE_WAIT_S if is_connected else STOP_WAIT_S)
        if not await link.gone(0):
            self._leaving[device] = link

    async def gone(self, device: tuple[str, str]) -> None:
        """Wait for the device's former link, for LEAVE_TIMEOUT_S at most."""
        link = self._leaving.pop(device, None)
        if link is not None and not await link.gone(LEAVE_TIMEOUT_S):
            log.warning("a former client of device %s still hangs in its dial", device[1])

    def abandon(self) -> None:
        """Wait no longer: the process is about to end."""
        for link in self._leaving.values():
            link.abandon()
