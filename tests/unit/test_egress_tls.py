"""TLS as we insist on it: a trusted certificate of the right name, version 1.2 or later, kept alive."""

import asyncio
import datetime as dt
import hashlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from kurir.runtime.addresses import AddressGuard
from kurir.runtime.client_certificates import ClientCertificate, ClientCertificateInvalid, judged
from kurir.runtime.egress import Egress, EgressPolicy, TransportFailure
from tests.support.certificates import a_certificate, as_client, fingerprint

pytestmark = pytest.mark.filterwarnings("ignore:ssl.TLSVersion")  # old ones are offered to be refused

INSIDE = AddressGuard.parse(["127.0.0.0/8"])


@asynccontextmanager
async def a_tls_receiver(
    certificate: Path, key: Path, latest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
) -> AsyncIterator[tuple[str, list[str]]]:
    """A receiver that answers 204; yields its URL and the TLS version of each connection."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = latest
    versions: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        versions.append(writer.get_extra_info("ssl_object").version())
        try:
            while await reader.readuntil(b"\r\n\r\n{}"):
                writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    async with server:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook", versions


async def test_a_trusted_receiver_is_reached_over_one_kept_connection(tmp_path: Path) -> None:
    certificate, key = a_certificate(tmp_path)
    policy = EgressPolicy(guard=INSIDE, ca_file=str(certificate))
    async with a_tls_receiver(certificate, key) as (url, versions), Egress(policy) as egress:
        answers = [await egress.post(url, headers=(), body=b"{}", deadline_s=10.0) for _ in range(3)]
    assert [answer.status for answer in answers] == [204] * 3
    assert versions == ["TLSv1.3"]


async def test_version_1_2_is_good_enough(tmp_path: Path) -> None:
    certificate, key = a_certificate(tmp_path)
    policy = EgressPolicy(guard=INSIDE, ca_file=str(certificate))
    async with a_tls_receiver(certificate, key, ssl.TLSVersion.TLSv1_2) as (url, versions), Egress(policy) as egress:
        await egress.post(url, headers=(), body=b"{}", deadline_s=10.0)
    assert versions == ["TLSv1.2"]


async def test_older_versions_are_refused(tmp_path: Path) -> None:
    certificate, key = a_certificate(tmp_path)
    policy = EgressPolicy(guard=INSIDE, ca_file=str(certificate))
    async with a_tls_receiver(certificate, key, ssl.TLSVersion.TLSv1_1) as (url, versions), Egress(policy) as egress:
        with pytest.raises(TransportFailure) as raised:
            await egress.post(url, headers=(), body=b"{}", deadline_s=10.0)
    assert (raised.value.kind, versions) == ("tls", [])


async def test_a_certificate_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    certificate, key = a_certificate(tmp_path)
    async with a_tls_receiver(certificate, key) as (url, _), Egress(EgressPolicy(guard=INSIDE)) as egress:
        with pytest.raises(TransportFailure) as raised:
            await egress.post(url, headers=(), body=b"{}", deadline_s=10.0)
    assert (raised.value.kind, raised.value.address) == ("tls", "127.0.0.1")


async def test_a_certificate_of_another_name_is_refused(tmp_path: Path) -> None:
    certificate, key = a_certificate(tmp_path, address="127.0.0.9")
    policy = EgressPolicy(guard=INSIDE, ca_file=str(certificate))
    async with a_tls_receiver(certificate, key) as (url, _), Egress(policy) as egress:
        with pytest.raises(TransportFailure) as raised:
            await egress.post(url, headers=(), body=b"{}", deadline_s=10.0)
    assert raised.value.kind == "tls"


async def test_plain_http_is_no_answer_to_tls() -> None:
    async def speak_plainly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        await reader.read(1)
        writer.close()

    server = await asyncio.start_server(speak_plainly, "127.0.0.1", 0)
    async with server, Egress(EgressPolicy(guard=INSIDE)) as egress:
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        with pytest.raises(TransportFailure) as raised:
            await egress.post(url, headers=(), body=b"{}", deadline_s=10.0)
    assert raised.value.kind == "tls"


@asynccontextmanager
async def a_receiver_that_knows(
    clients: list[ClientCertificate], certificate: Path, key: Path
) -> AsyncIterator[tuple[str, list[int]]]:
    """A receiver that insists on one of these certificates; yields its URL and, by connection, its requests."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata="".join(client.certificate for client in clients))
    requests: list[int] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(0)
        mine = len(requests) - 1
        shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        body = hashlib.sha256(shown).hexdigest().encode()
        try:
            while await reader.readuntil(b"\r\n\r\n{}"):
                requests[mine] += 1
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 64\r\n\r\n" + body)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    async with server:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook", requests


async def test_each_client_certificate_has_connections_of_its_own(tmp_path: Path) -> None:
    certificate, key = a_certificate(tmp_path)
    one, other, stranger = (as_client(tmp_path / name) for name in ("one", "other", "stranger"))
    policy = EgressPolicy(guard=INSIDE, ca_file=str(certificate))
    async with a_receiver_that_knows([one, other], certificate, key) as (url, requests), Egress(policy) as egress:
        for client in (one, other, one, other, one):
            answer = await egress.post(url, headers=(), body=b"{}", deadline_s=10.0, client_certificate=client)
            assert answer.body == fingerprint(client), "nobody speaks under another's name"
        assert sorted(requests) == [2, 3], "and each connection is used again"
        for nobody in (None, stranger):
            with pytest.raises(TransportFailure) as refused:
                await egress.post(url, headers=(), body=b"{}", deadline_s=10.0, client_certificate=nobody)
            assert refused.value.kind in ("tls", "reset", "protocol")
    assert sum(requests) == 5


def test_a_certificate_tells_who_it_is_and_until_when(tmp_path: Path) -> None:
    client = as_client(tmp_path / "one")
    about = judged(client)
    assert about.subject == "CN=one"
    assert about.expires_at > dt.datetime.now(dt.UTC)


def test_what_cannot_be_shown_to_a_receiver_is_refused_without_quoting_the_key(tmp_path: Path) -> None:
    one, other = as_client(tmp_path / "one"), as_client(tmp_path / "other")
    key = serialization.load_pem_private_key(one.private_key.encode(), None)
    locked = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
    ).decode()
    wrong = {
        "not that of": one._replace(private_key=other.private_key),
        "encrypted": one._replace(private_key=locked),
        "PEM text of a private": one._replace(private_key=one.certificate),
        "PEM text of a certificate": one._replace(certificate="-----BEGIN CERTIFICATE-----"),
    }
    for reason, given in wrong.items():
        with pytest.raises(ClientCertificateInvalid, match=reason) as refused:
            judged(given)
        assert given.private_key.splitlines()[1] not in str(refused.value)
