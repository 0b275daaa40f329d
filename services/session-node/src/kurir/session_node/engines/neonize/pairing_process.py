"""The child process of a pairing: reads one order from stdin, says on stdout what happens, line by line.

It ends by os._exit, because the library's threads never do, and at once when its parent closes stdin or dies.
"""

import base64
import contextlib
import os
import queue
import re
import sys
import threading
import uuid

import msgspec

from kurir.contracts.states import Reason
from kurir.session_node.engines.neonize import library
from kurir.session_node.engines.neonize.pairing import PairingLine, PairingOrder

LOGIN_S = 60.0  # from the scan to the first login, with the upload of 812 keys
SETTLE_S = 15.0  # for the phone's first words, and from each to the next; a phone in a tunnel says them to the shard
FORWARDED = frozenset({library.MESSAGE, library.RECEIPT})

_REASONS: dict[str, Reason] = {
    "timeout": "qr_timeout",
    "err-client-outdated": "client_outdated",
    # Not the channel's end, but the end for us: the library offers no way to answer with a passkey.
    "passkey-request": "passkey_required",
}
"""What whatsmeow's QR channel says besides codes (qrchan.go), where we have a word of our own for it."""

COLLECTIONS = frozenset({"critical_block", "critical_unblock_low", "regular_high", "regular", "regular_low"})
"""Of an account's app state, as whatsmeow fetches them when the phone has given it their key (appstate/keys.go)."""

_COLLECTION_ENDED = re.compile(r"Full sync of app state (\w+) completed|Failed to do initial fetch of app state (\w+):")
"""What whatsmeow logs at the end of each (appstate.go, message.go); neonize hands on no event of it."""


class Pairing:
    """Turns what the library says in its threads into lines. One line at a time leaves the process."""

    def __init__(self, out: int, phone: str | None) -> None:
        self._out = out
        self._phone = phone
        self._client = uuid.uuid4().hex.encode()
        self._writing = threading.Lock()
        self._scanned = False
        self._finishing = threading.Event()
        self._ended: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._device = b""
        self._code_wanted: queue.SimpleQueue[None] = queue.SimpleQueue()

    def run(self, go: library.GoLibrary, order: PairingOrder) -> None:
        """Pair; ends the process."""
        from kurir.session_node.engines.neonize import to_whatsapp

        if self._phone is not None:
            threading.Thread(
                target=self._show_code, args=(go, to_whatsapp.pair_phone(self._phone)), daemon=True
            ).start()
        go.follow_log(self._on_log)
        why = go.run_client(
            self._client,
            library.Opening(
                database=order.database,
                jid=None,
                device_props=to_whatsapp.device_props(order.device_name),
                proxy=order.proxy,
            ),
            self,
        )
        if self._finishing.is_set():
            threading.Event().wait()  # our own stop made the client return; the other thread ends the process
        self._fail("server_unavailable", why)

    def on_qr(self, text: str) -> None:
        if self._phone is None:
            self._say(PairingLine(what="qr", text=text))
        else:
            # A code can be asked for as soon as the connection stands, which the first QR code shows.
            self._code_wanted.put(None)

    def on_pairing_status(self, status: str) -> None:
        if status == "success":
            self._scanned = True
            threading.Timer(LOGIN_S, self._require_login).start()
        else:
            self._fail(_REASONS.get(status, "pairing_failed"), status)

    def on_event(self, kind: int, data: bytes) -> None:
        if kind == library.DEVICE:
            self._device = data
        elif kind in FORWARDED:
            self._say(PairingLine(what="event", kind=kind, text=base64.b64encode(data).decode()))
        elif kind == library.CONNECTED and self._scanned:
            self._finishing.set()
            threading.Thread(target=self._finish, daemon=True).start()
        elif kind in (library.LOGGED_OUT, library.CONNECT_FAILURE, library.CLIENT_OUTDATED):
            self._fail("pairing_failed", f"WhatsApp refused the first login ({kind})")

    def _on_log(self, line: str) -> None:
        found = _COLLECTION_ENDED.search(line)
        if found is not None:
            self._ended.put(found[1] or found[2])

    def _show_code(self, go: library.GoLibrary, params: bytes) -> None:
        from kurir.session_node.engines.neonize import from_whatsapp

        self._code_wanted.get()
        code, error = from_whatsapp.pairing_code(go.pair_phone(self._client, params))
        if error:
            self._fail("pairing_failed", error)
        self._say(PairingLine(what="code", text=code))

    def _finish(self) -> None:
        from kurir.session_node.engines.neonize import from_whatsapp

        go = library.load()
        self._settle(go)
        go.stop_client(self._client)
        jid = from_whatsapp.connected(self._device).jid
        self._say(PairingLine(what="paired", text=jid or ""))
        os._exit(0)

    def _require_login(self) -> None:
        if not self._finishing.is_set():
            self._fail("pairing_failed", "no login after the scan")

    def _settle(self, go: library.GoLibrary) -> None:
        """Wait until the account's app state is in the store, such as its name and the names of its contacts.

        The phone gives the key to it once. If this process ended while it is fetched, nobody would fetch it again.
        """
        missing = set(COLLECTIONS)
        with contextlib.suppress(queue.Empty):
            while missing:
                missing.discard(self._ended.get(timeout=SETTLE_S))
        # WhatsApp shows the account's name to others once a device has said it with its presence.
        go.ask(self._client, "SendPresence", (b"unavailable",))

    def _fail(self, reason: Reason, detail: str) -> None:
        self._say(PairingLine(what="failed", text=detail, reason=reason))
        os._exit(1)

    def _say(self, line: PairingLine) -> None:
        with self._writing:
            os.write(self._out, msgspec.json.encode(line) + b"\n")


def main() -> None:
    # The library prints to stdout; the parent reads only lines that are meant for it.
    out = os.dup(1)
    os.dup2(2, 1)
    order = msgspec.json.decode(sys.stdin.buffer.readline(), type=PairingOrder)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    pairing = Pairing(out, order.phone)
    try:
        go = library.load()
    except library.LibraryUnavailable as error:
        os.write(out, msgspec.json.encode(PairingLine(what="failed", text=str(error), reason="engine_error")) + b"\n")
        os._exit(1)
    pairing.run(go, order)


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(2)


if __name__ == "__main__":
    main()
