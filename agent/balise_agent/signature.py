"""Did the operator's key sign this configuration or command?

Signed is the text ``balise/v1/<probe>/cmd``, LF, and the message as `codec` writes it without its signature: what was
signed for one probe says nothing to another.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import replace

from balise_agent.codec import encode_command, encode_config
from balise_agent.contract import Command, Config, topic


def signed_bytes(message: Config | Command, probe: str) -> bytes:
    """What the signature covers."""
    bare = replace(message, signature=None)
    encoded = encode_config(bare) if isinstance(bare, Config) else encode_command(bare)
    return topic(probe, "cmd").encode() + b"\n" + encoded


def is_signed(message: Config | Command, probe: str, command_key: str) -> bool:
    """Whether ``message`` carries the signature (64 bytes in base64url) of this public key (32 bytes in base64url)."""
    # Only an agent whose configuration names a key pays for the import: 7 MB and 40 ms.
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        signature = _unbase64(message.signature or "")
        Ed25519PublicKey.from_public_bytes(_unbase64(command_key)).verify(signature, signed_bytes(message, probe))
    except (InvalidSignature, ValueError, binascii.Error):
        return False
    return True


def _unbase64(text: str) -> bytes:
    return base64.b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4), altchars=b"-_", validate=True)
