"""A web server with a certificate of its own authority, and its log."""

import datetime
import hashlib
import ipaddress
import ssl
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID


def authority(directory: Path) -> tuple[Path, Path]:
    """The authority's certificate, and a chain with key for 127.0.0.1."""
    now = datetime.datetime.now(datetime.UTC)
    name = lambda text: x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    def certificate(subject, key, issuer, by, *extensions):
        made = x509.CertificateBuilder(name(issuer), name(subject), key.public_key(), x509.random_serial_number())
        made = made.not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=1))
        for extension in extensions:
            made = made.add_extension(extension, critical=False)
        return made.sign(by, hashes.SHA256())

    root, leaf = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca = certificate("ca", root, "ca", root, x509.BasicConstraints(True, None))
    host = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    own = certificate("host", leaf, "ca", root, host)
    (directory / "ca.pem").write_bytes(ca.public_bytes(Encoding.PEM))
    key = leaf.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (directory / "own.pem").write_bytes(own.public_bytes(Encoding.PEM) + key)
    return directory / "ca.pem", directory / "own.pem"


class Web:
    """Serves a directory; paths below `secret/` only with `?token=sesame`."""

    def __init__(self, root: Path, chain: Path | None):
        self.log = []
        """(path, status) of all requests."""
        handler = type("Handler", (Handler,), {"root": root, "log": self.log})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        if chain:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(chain)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        self.url = f"{'https' if chain else 'http'}://127.0.0.1:{self.server.server_address[1]}"
        Thread(target=self.server.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    def asked(self, path: str, status: int = 200) -> int:
        return self.log.count((path, status))


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        path, _, query = self.path.partition("?")
        file = self.root / path.lstrip("/")
        status, body, etag = 404, b"", ""
        if path.startswith("/secret/") and query != "token=sesame":
            status = 403
        elif file.is_file():
            body = file.read_bytes()
            etag = f'"{hashlib.md5(body).hexdigest()}"'
            status = 304 if self.headers.get("If-None-Match") == etag else 200
        self.log.append((path, status))
        self.send_response_only(status)
        if etag:
            self.send_header("ETag", etag)
        body = b"" if status == 304 else body
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def handle(self):
        # Who does not trust the certificate goes away.
        try:
            super().handle()
        except (ConnectionError, ssl.SSLError):
            pass

    def log_message(self, *_):
        pass
