"""Certificates for 127.0.0.1, of an authority of their own."""

from __future__ import annotations

import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Certificate:
    """A certificate that is its own authority."""

    file: Path
    """PEM file of the certificate."""
    key: Path
    """PEM file of its key."""

    def server(self, *, client: Certificate | None = None) -> ssl.SSLContext:
        """Return what a server needs that shows it; one that asks for `client` in turn."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.file, self.key)
        if client is not None:
            context.load_verify_locations(client.file)
            context.verify_mode = ssl.CERT_REQUIRED
        return context


def make_certificate(folder: Path, name: str) -> Certificate:
    """Make one."""
    made = Certificate(folder / f"{name}.pem", folder / f"{name}-key.pem")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
        + ["-nodes", "-days", "2", "-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1"]
        + ["-keyout", str(made.key), "-out", str(made.file)],
        check=True,
        capture_output=True,
    )
    return made
