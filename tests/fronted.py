"""The real nginx with the repository's nginx.conf, on ports of its own, in front of whatever listens on one port."""

from __future__ import annotations

import contextlib
import re
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import httpx
from conftest import ROOT
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from ports import free_port

CONFIGURATION: Final = (ROOT / "nginx.conf").read_text("utf-8")
HOST: Final = "localhost"
MISSING: Final = "nginx is not installed (scripts/setup_servers)" if shutil.which("nginx") is None else ""


@dataclass(frozen=True, kw_only=True)
class Front:
    """A running nginx: where it speaks TLS, where it does not, its certificate, and its access log."""

    url: str
    plain_url: str
    certificate: Path
    access_log: Path

    @property
    def trust(self) -> ssl.SSLContext:
        """Trusts this nginx alone; another one each time, since clients write into it what they can speak."""
        return ssl.create_default_context(cafile=self.certificate)

    def client(self, address: str = "127.0.0.1", *, http2: bool = True) -> httpx.Client:
        """A client of it that comes from this address of the machine."""
        transport = httpx.HTTPTransport(verify=self.trust, http2=http2, local_address=address)
        return httpx.Client(base_url=self.url, transport=transport, timeout=120)


def configured(text: str, folder: Path) -> str:
    """This nginx.conf with a certificate that was just made, and nginx's own files all in `folder`."""
    _make_certificate(folder)
    text, found = re.subn("/etc/nginx/tls/", f"{folder}/", text)
    assert found == 2
    # Debian's nginx and that of the image each have folders of their own for these.
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "\n".join(f"    {kind}_temp_path {folder}/{kind};" for kind in kinds)
    return text.replace("http {\n", f"http {{\n{temporary}\n", 1)


@contextlib.contextmanager
def nginx_before(port: int, folder: Path) -> Iterator[Front]:
    """nginx in front of 127.0.0.1:`port`; what a place changes in nginx.conf is changed, and nothing else."""
    folder.mkdir()
    tls, plain = free_port(), free_port()
    log = folder / "access.log"
    text = configured(CONFIGURATION, folder)
    for written, here, times in (
        ("server api:8000", f"server 127.0.0.1:{port}", 4),
        (r"\n +listen \[::\]:.*", "", 2),  # loopback of IPv4 is enough here
        ("listen 80 ", f"listen 127.0.0.1:{plain} ", 1),
        ("listen 443 ", f"listen 127.0.0.1:{tls} ", 1),
        ("/dev/stdout", str(log), 1),
    ):
        text, found = re.subn(written, here, text)
        assert found == times, written
    configuration = folder / "nginx.conf"
    configuration.write_text(text, "utf-8")
    command = ["nginx", "-e", "stderr", "-p", str(folder), "-c", str(configuration)]
    command += ["-g", f"daemon off; pid {folder}/nginx.pid; user root;"]
    errors = folder / "errors.log"
    with errors.open("wb") as written_errors:
        process = subprocess.Popen(command, stderr=written_errors)
    try:
        front = Front(
            url=f"https://{HOST}:{tls}",
            plain_url=f"http://{HOST}:{plain}",
            certificate=folder / "fullchain.pem",
            access_log=log,
        )
        while True:
            assert process.poll() is None, errors.read_text()
            with contextlib.suppress(httpx.ConnectError), front.client() as client:
                client.get("/not-there")
                break
        yield front
    finally:
        process.terminate()
        process.wait(60)
    assert "[emerg]" not in errors.read_text()
    assert "[alert]" not in errors.read_text()


def _make_certificate(folder: Path) -> None:
    """A key and a certificate of `HOST` that signs itself and is good for a day lie in `folder`."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "fullchain.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "privkey.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
