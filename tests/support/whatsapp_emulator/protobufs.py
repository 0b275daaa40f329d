"""The protobuf messages of WhatsApp, as the neonize wheel brings them, and those of Signal, declared here.

neonize's generated modules import each other as top-level modules, so their folder is put on the path, as neonize
does itself. neonize is not imported: that would start its library's Python side and set up logging.
"""

import importlib
import sys
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from tests.support.whatsapp_emulator.dictionaries import library_path

_Type = descriptor_pb2.FieldDescriptorProto
_NUMBER, _BYTES = _Type.TYPE_UINT32, _Type.TYPE_BYTES


def _whatsapp(module: str) -> Any:
    folder = str(library_path().parent / "proto")
    if folder not in sys.path:
        sys.path.append(folder)
    return importlib.import_module(module)


wa6 = _whatsapp("waWa6.WAWebProtobufsWa6_pb2")
"""HandshakeMessage and ClientPayload."""
certificates = _whatsapp("waCert.WACert_pb2")
companion = _whatsapp("waCompanionReg.WAWebProtobufsCompanionReg_pb2")
adv = _whatsapp("waAdv.WAAdv_pb2")
"""Identities of linked devices, signed by their account."""
e2e = _whatsapp("waE2E.WAWebProtobufsE2E_pb2")
"""Message, and all that one can be."""
sync = _whatsapp("waServerSync.WAWebProtobufsServerSync_pb2")
"""App state on its way."""
sync_action = _whatsapp("waSyncAction.WAWebProtobufSyncAction_pb2")


def _signal(name: str, **fields: tuple[int, int]) -> descriptor_pb2.DescriptorProto:
    declared = [
        _Type(name=field, number=number, type=kind, label=_Type.LABEL_OPTIONAL)
        for field, (number, kind) in fields.items()
    ]
    return descriptor_pb2.DescriptorProto(name=name, field=declared)


_file = descriptor_pb2.FileDescriptorProto(
    name="tests/whatsapp_emulator/signal.proto",
    package="tests.whatsapp_emulator.signal",
    message_type=[
        _signal(
            "SignalMessage",
            ratchet_key=(1, _BYTES),
            counter=(2, _NUMBER),
            previous_counter=(3, _NUMBER),
            ciphertext=(4, _BYTES),
        ),
        _signal(
            "PreKeySignalMessage",
            prekey_id=(1, _NUMBER),
            base_key=(2, _BYTES),
            identity=(3, _BYTES),
            message=(4, _BYTES),
            registration_id=(5, _NUMBER),
            signed_prekey_id=(6, _NUMBER),
        ),
        _signal("SenderKeyMessage", id=(1, _NUMBER), iteration=(2, _NUMBER), ciphertext=(3, _BYTES)),
        _signal(
            "SenderKeyDistributionMessage",
            id=(1, _NUMBER),
            iteration=(2, _NUMBER),
            chain_key=(3, _BYTES),
            signing_key=(4, _BYTES),
        ),
    ],
)
_classes: dict[str, Any] = {
    name.rpartition(".")[2]: made
    for name, made in message_factory.GetMessages([_file], pool=descriptor_pool.DescriptorPool()).items()
}
SignalMessage: Any = _classes["SignalMessage"]
PreKeySignalMessage: Any = _classes["PreKeySignalMessage"]
SenderKeyMessage: Any = _classes["SenderKeyMessage"]
SenderKeyDistributionMessage: Any = _classes["SenderKeyDistributionMessage"]
"""As in libsignal's WhisperTextProtocol.proto."""
