"""How is what a probe says, and is told, written on the wire and read back?

A batch is its envelope as one line of JSON, LF, then its body as zlib(JSON): `batch.py`. Acks, presence, configurations
and commands are plain JSON: `control.py`. What a single value may be is in `shape.py`, what zlib knows of every body
beforehand in `dictionary.py`.

Rule 1: decoding is total. Any bytes give a value or a `Refusal` with its name; nothing from outside raises.
Rule 2: inputs are bounded before they are parsed: bytes on the wire, bytes inflated, records, lengths of texts.
Rule 3: what is encoded can be decoded, to an equal value; encoding raises ValueError on what could not.
"""

from balise_agent.codec.batch import (
    check_record,
    decode_batch,
    decode_body,
    decode_envelope,
    deflate,
    encode_batch,
    encode_body,
    encode_envelope,
    inflate,
    record_json,
)
from balise_agent.codec.control import (
    decode_ack,
    decode_answer,
    decode_cmd,
    decode_presence,
    encode_ack,
    encode_answer,
    encode_command,
    encode_config,
    encode_presence,
)
from balise_agent.codec.dictionary import DICTIONARY, DICTIONARY_ID

__all__ = [
    "DICTIONARY",
    "DICTIONARY_ID",
    "check_record",
    "decode_ack",
    "decode_answer",
    "decode_batch",
    "decode_body",
    "decode_cmd",
    "decode_envelope",
    "decode_presence",
    "deflate",
    "encode_ack",
    "encode_answer",
    "encode_batch",
    "encode_body",
    "encode_command",
    "encode_config",
    "encode_envelope",
    "encode_presence",
    "inflate",
    "record_json",
]
