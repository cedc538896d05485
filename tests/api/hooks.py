"""Photos where the document says that photos are taken: random bytes are none."""

from pathlib import Path

import schemathesis
from hypothesis import strategies as st

PHOTO = (Path(__file__).resolve().parents[2] / "models/photos/chelsea.jpg").read_bytes()

# Whole, cut short, and none at all.
cut = st.integers(0, len(PHOTO) - 1).map(lambda length: PHOTO[:length])
photos = st.just(PHOTO) | cut | st.binary()
for kind in ("image/jpeg", "image/png", "image/webp", "image/gif"):
    schemathesis.openapi.media_type(kind, photos)
