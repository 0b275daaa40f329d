"""Client certificates: what a receiver that insists on mutual TLS knows us by.

Only judges and carries them; who trusts whom is the receiver's to say.
"""

from datetime import datetime
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key


class ClientCertificateInvalid(ValueError):
    """This cannot be shown to a receiver. The message says why, and quotes nothing of the key."""


class ClientCertificate(NamedTuple):
    """A certificate, and those that vouch for it behind it, with its private key; both PEM."""

    certificate: str
    private_key: str


class About(NamedTuple):
    """What a certificate says of itself: RFC 4514, and when it ends."""

    subject: str
    expires_at: datetime


def judged(given: ClientCertificate) -> About:
    """What the certificate says, if it is one and the key is its own. Raises ClientCertificateInvalid."""
    about, public = _read(given.certificate)
    try:
        key = load_pem_private_key(given.private_key.encode(), password=None)
    except TypeError:
        raise ClientCertificateInvalid("The private key is encrypted; give it without a password.") from None
    except ValueError:
        raise ClientCertificateInvalid("The private key is no PEM text of a private key.") from None
    if key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) != public:
        raise ClientCertificateInvalid("The private key is not that of the certificate.")
    return about


def about(certificate: str) -> About:
    """What a certificate says. Raises ClientCertificateInvalid."""
    return _read(certificate)[0]


def _read(certificate: str) -> tuple[About, bytes]:
    try:
        first, *_ = x509.load_pem_x509_certificates(certificate.encode())
        public = first.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except ValueError:
        raise ClientCertificateInvalid("The certificate is no PEM text of a certificate.") from None
    return About(first.subject.rfc4514_string(), first.not_valid_after_utc), public
