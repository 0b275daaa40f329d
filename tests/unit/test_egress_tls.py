"""TLS as we insist on it: a trusted certificate of the right name, version 1.2 or later, kept alive."""

import asyncio
import datetime as dt
import ipaddress
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from kurir.runtime.addresses import AddressGuard
from kurir.runtime.egress import Egress, EgressPolicy, TransportFailure

pytestmark = pytest.mark.filterwarnings("ignore:ssl.TLSVersion")  # old ones are offered to be refused

INSIDE = AddressGuard.parse(["127.0.0.0/8"])


def a_certificate(folder: Path, *, address: str = "127.0.0.1") -> tuple[Path, Path]:
    """A self-signed certificate of that address, and its key, as PEM files."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "receiver")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate_file, key_file = folder / "certificate.pem", folder / "key.pem"
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return certificate_file, key_file


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
