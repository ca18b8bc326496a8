"""What tells that a Secret changed, and nothing of what is in it. Pure."""

import hashlib
import hmac
import json

from parallel_consumer_operator.port import Manifest


def fingerprint(secret: Manifest | None) -> str | None:
    """Return what changes with a Secret's contents; keyed by its uid, so that nobody guesses a password from it."""
    if secret is None:
        return None
    contents = json.dumps(secret.get("data") or {}, sort_keys=True).encode()
    return hmac.new(secret["metadata"]["uid"].encode(), contents, hashlib.sha256).hexdigest()[:8]
