"""Engine.IO session ids that say which worker has the session.

::

    q7Xw  kM2vT0aJ9cQdRz4f  8hYb
    tag   random            code

The tag is a hash of the name under which a worker listens, and the code is made with that name as key. The name stands
in a directory that only processes of one user can read; so any of them knows whose a sid is, and nobody else can make
one up that is passed on.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from base64 import urlsafe_b64encode
from functools import lru_cache

TAG = 4
CODE = 4
RANDOM_BYTES = 12
LENGTH = TAG + 4 * RANDOM_BYTES // 3 + CODE
"""Characters of a tagged sid, 96 bits of them random."""


@lru_cache(maxsize=1000)
def tag_of(name: str) -> str:
    """Return the tag of the worker that listens under a name."""
    return _text(hashlib.sha256(name.encode()).digest(), TAG)


def new_tagged_sid(name: str) -> str:
    """Return a sid for a session of the worker that listens under a name."""
    start = tag_of(name) + secrets.token_urlsafe(RANDOM_BYTES)
    return start + _code(name, start)


def is_sid_of(name: str, sid: str) -> bool:
    """Return whether a sid was made by the worker that listens under a name."""
    start, code = sid[:-CODE], sid[-CODE:]
    return (
        len(sid) == LENGTH
        and sid.isascii()
        and start.startswith(tag_of(name))
        and hmac.compare_digest(code, _code(name, start))
    )


def _code(name: str, start: str) -> str:
    return _text(hmac.digest(name.encode(), start.encode(), "sha256"), CODE)


def _text(digest: bytes, characters: int) -> str:
    return urlsafe_b64encode(digest[: 3 * characters // 4]).decode()
