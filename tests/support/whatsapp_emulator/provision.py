"""Linked devices without the linking: the emulator takes their keys as given, and signs what a phone would have signed.

For who needs hundreds of devices: linking one costs half a CPU second. What such a device does afterwards (log in,
send, receive) is what any does; no phone has welcomed it, so it knows no app state. See provisioned_store.py.
"""

from typing import Any

import msgspec

from tests.support.whatsapp_emulator.accounts import Account, Device, SignedPrekey
from tests.support.whatsapp_emulator.pairing import signed_identity

ID_BYTES = 3


class DeviceKeys(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The public half of a device's keys. `prekeys` by their numbers."""

    noise_key: bytes
    identity: bytes
    registration_id: int
    signed_prekey_id: int
    signed_prekey: bytes
    signed_prekey_signature: bytes
    prekeys: dict[int, bytes]


class Provided(msgspec.Struct, kw_only=True):
    """`device` as the control API calls it, its addresses, and its identity as the account has signed it."""

    device: str
    jid: str
    lid: str
    signed_identity: bytes


def provide(account: Account, keys: DeviceKeys) -> Any:
    """Add a device to an account; a Provided, as JSON has it."""
    device = Device(
        account,
        account.next_device(),
        noise_key=keys.noise_key,
        identity=keys.identity,
        registration=keys.registration_id.to_bytes(4, "big"),
        signed_prekey=SignedPrekey(_id(keys.signed_prekey_id), keys.signed_prekey, keys.signed_prekey_signature),
        was_welcomed=True,
    )
    device.prekeys.update((_id(number), key) for number, key in keys.prekeys.items())
    account.devices[device.number] = device
    provided = Provided(
        device=device.name,
        jid=str(device.pn),
        lid=str(device.lid),
        signed_identity=signed_identity(account.identity, device.number, device.identity),
    )
    return msgspec.to_builtins(provided)


def _id(number: int) -> bytes:
    return number.to_bytes(ID_BYTES, "big")
