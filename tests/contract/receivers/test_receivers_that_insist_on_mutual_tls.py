"""A receiver that lets nobody in but who shows a certificate that it knows."""

import asyncio
import ssl
from pathlib import Path

from kurir.contracts.records import SealedCertificate
from tests.support.certificates import a_certificate, as_client, fingerprint
from tests.support.dispatcher import Stage, a_message


async def test_an_endpoints_certificate_is_shown_to_its_receiver_and_nobody_elses(stage: Stage, tmp_path: Path) -> None:
    certificate, key = a_certificate(tmp_path)
    client, stranger = as_client(tmp_path / "client"), as_client(tmp_path / "stranger")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=client.certificate)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        shown = ssl.DER_cert_to_PEM_cert(writer.get_extra_info("ssl_object").getpeercert(binary_form=True))
        body = fingerprint(client._replace(certificate=shown))
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
            await reader.readexactly(length)
            writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 64\r\n\r\n" + body)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
    async with server, stage.dispatcher(egress_ca_file=str(certificate)):
        for identifier, shown in (("known", client), ("unknown", stranger), ("nameless", None)):
            kept = shown and SealedCertificate(
                certificate=shown.certificate, sealed_key=stage.sealed(shown.private_key, "t1", identifier)
            )
            await stage.endpoint(url, id=identifier, client_certificate=kept, retry_delays_s=())
        await stage.say(a_message())
        attempts = {attempt.endpoint: attempt for attempt in await stage.attempts_until(3)}
    assert (attempts["known"].outcome, attempts["known"].response) == ("delivered", fingerprint(client).decode())
    for identifier in ("unknown", "nameless"):
        assert (attempts[identifier].outcome, attempts[identifier].status) == ("dead", None)
