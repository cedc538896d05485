"""Keys and signatures as minisign makes them (https://jedisct1.github.io/minisign/)."""

import base64
import hashlib
import os

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


class Key:
    def __init__(self):
        self.id = os.urandom(8)
        self.secret = Ed25519PrivateKey.generate()

    @property
    def public(self) -> str:
        """The second line of minisign.pub."""
        raw = self.secret.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return base64.b64encode(b"Ed" + self.id + raw).decode()

    def sign(self, text: bytes) -> bytes:
        """The file beside `text`."""
        signature = self.secret.sign(hashlib.blake2b(text).digest())
        comment = b"timestamp:1"
        both = base64.b64encode(self.secret.sign(signature + comment))
        line = base64.b64encode(b"ED" + self.id + signature)
        return b"untrusted comment: a test\n" + line + b"\ntrusted comment: " + comment + b"\n" + both + b"\n"
