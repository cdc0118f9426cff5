"""A certificate for the TLS tests, made when they run."""

from __future__ import annotations

import shutil
import ssl
import subprocess
import sys
from pathlib import Path


class Certificates:
    """Contexts for a server called "localhost" and for clients that trust it."""

    def __init__(self, folder: Path) -> None:
        self.certificate = folder / "certificate.pem"
        self.key = folder / "key.pem"

    def server(self) -> ssl.SSLContext:
        """A server's context with the certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        return context

    def client(self) -> ssl.SSLContext:
        """A client's context that verifies names and trusts this certificate only."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self.certificate)
        return context


def _with_openssl(folder: Path) -> None:
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost "
        "-addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout key.pem -out certificate.pem"
    )
    subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)


def _with_trustme(folder: Path) -> None:
    import trustme

    authority = trustme.CA()
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    certificate.private_key_pem.write_to_path(folder / "key.pem")
    chain = [*certificate.cert_chain_pems, authority.cert_pem]
    (folder / "certificate.pem").write_bytes(b"".join(pem.bytes() for pem in chain))


def make_certificates(folder: Path, existing: str | None) -> Certificates:
    """Certificates in ``folder``, or those of the folder ``existing`` (key.pem, certificate.pem).

    No process can be started inside the VM, so there either trustme is installed or whoever starts
    the tests makes the files.
    """
    if existing is not None:
        return Certificates(Path(existing))
    try:
        _with_trustme(folder)
    except ImportError:
        if "_erlang" in sys.builtin_module_names:
            raise
        if shutil.which("openssl") is None:
            raise
        _with_openssl(folder)
    return Certificates(folder)
