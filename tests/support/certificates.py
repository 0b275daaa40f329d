"""Certificates for receivers and for clients, made on the spot."""

import datetime as dt
import hashlib
import ipaddress
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from kurir.runtime.client_certificates import ClientCertificate


def a_certificate(folder: Path, *, address: str = "127.0.0.1", called: str = "receiver") -> tuple[Path, Path]:
    """A self-signed certificate of that address, and its key, as PEM files."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, called)])
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


def as_client(folder: Path) -> ClientCertificate:
    """A client's certificate that is called as its folder, which is made."""
    folder.mkdir()
    certificate, key = a_certificate(folder, called=folder.name)
    return ClientCertificate(certificate.read_text(), key.read_text())


def fingerprint(client: ClientCertificate) -> bytes:
    """The SHA-256 of a certificate in hex."""
    shown = ssl.PEM_cert_to_DER_cert(client.certificate)
    return hashlib.sha256(shown).hexdigest().encode()
