# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A certificate authority in a folder: one CA, one certificate per host, each issued again before it runs out.

Layout: C(ca.pem), C(ca.key), C(hosts/<name>.pem) (certificate, then the CA's), C(hosts/<name>.key). Keys are ECDSA P-256,
unencrypted PKCS #8, mode 0600. Certificates follow RFC 5280; names are matched by subject alternative names (RFC 6125).
"""

from __future__ import annotations

import datetime
import ipaddress
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
except ImportError:
    HAS_CRYPTOGRAPHY = False
else:
    HAS_CRYPTOGRAPHY = True

CA_DAYS = 3650


class InternalCaError(ValueError):
    """A request that cannot be granted; the message names the thing, the value and the cure."""


@dataclass(frozen=True)
class Request:
    """A wanted certificate: the host's name and the names and addresses under which it is reached."""

    name: str
    dns: tuple[str, ...] = ()
    ip: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", self.name):
            raise InternalCaError(f"name of a certificate must be a host's name, not: {self.name!r}")
        for address in self.ip:
            try:
                ipaddress.ip_address(address)
            except ValueError as error:
                raise InternalCaError(
                    f"ip of certificate {self.name} must be an IP address, not: {address!r}; names belong in dns"
                ) from error

    @property
    def subject_alternative_name(self) -> x509.SubjectAlternativeName:
        names: list[x509.GeneralName] = [x509.DNSName(name) for name in sorted(set(self.dns))]
        addresses = sorted(
            {ipaddress.ip_address(address) for address in self.ip}, key=lambda item: (item.version, int(item))
        )
        return x509.SubjectAlternativeName([*names, *(x509.IPAddress(address) for address in addresses)])


def _write(path: Path, content: bytes, mode: int) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as stream:
        stream.write(content)
    temporary.replace(path)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _load_key(path: Path) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise InternalCaError(f"{path} must hold an ECDSA key; move the folder away to have a new authority made")
    return key


def _new_ca(common_name: str, now: datetime.datetime) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    usage = x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        crl_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=CA_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return certificate, key


def _issue(
    request: Request, ca: x509.Certificate, ca_key: ec.EllipticCurvePrivateKey, now: datetime.datetime, days: int
) -> tuple[bytes, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, request.name)]))
        .issuer_name(ca.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(min(now + datetime.timedelta(days=days), ca.not_valid_after_utc))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(request.subject_alternative_name, critical=False)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    chain = certificate.public_bytes(serialization.Encoding.PEM) + ca.public_bytes(serialization.Encoding.PEM)
    return chain, _pem(key)


def _still_good(path: Path, request: Request, ca: x509.Certificate, now: datetime.datetime, renew_days: int) -> bool:
    if not path.exists() or not path.with_suffix(".key").exists():
        return False
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    try:
        certificate.verify_directly_issued_by(ca)
    except Exception:
        return False
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return names == request.subject_alternative_name and certificate.not_valid_after_utc - now > datetime.timedelta(
        days=renew_days
    )


def ensure(
    folder: Path,
    common_name: str,
    requests: Sequence[Request],
    now: datetime.datetime,
    *,
    days: int = 825,
    renew_days: int = 30,
    dry_run: bool = False,
) -> list[str]:
    """Make the authority and the certificates that are missing, changed or near their end.

    C(days) is a certificate's lifetime, C(renew_days) how long before its end it is issued again; C(now) is an aware time.
    Returns the names of what was (with C(dry_run), would be) made, C("ca") for the authority itself. Raises InternalCaError.
    """
    ca_path, key_path = folder / "ca.pem", folder / "ca.key"
    if ca_path.exists() != key_path.exists():
        raise InternalCaError(
            f"{folder} holds only one of ca.pem and ca.key; restore the other from your backup, or move both away"
        )
    made: list[str] = []
    if ca_path.exists():
        ca, ca_key = x509.load_pem_x509_certificate(ca_path.read_bytes()), _load_key(key_path)
    else:
        ca, ca_key = _new_ca(common_name, now)
        made.append("ca")
        if not dry_run:
            _write(key_path, _pem(ca_key), 0o600)
            _write(ca_path, ca.public_bytes(serialization.Encoding.PEM), 0o644)
    for request in requests:
        path = folder / "hosts" / f"{request.name}.pem"
        if _still_good(path, request, ca, now, renew_days):
            continue
        made.append(request.name)
        if not dry_run:
            chain, key = _issue(request, ca, ca_key, now, days)
            _write(path.with_suffix(".key"), key, 0o600)
            _write(path, chain, 0o644)
    return made
