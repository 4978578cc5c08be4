"""
The answer to a gateway's challenge, and how much of a key may be seen.

Source: ``docs/protocol.md``, checked against the official client's vectors by
``tests/unit/live/test_auth.py``.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

BUCKET_ID_LENGTH: Final = 5  # letters of the key that the protocol itself shows
HIDDEN: Final = "****"
KEY_VARIABLE: Final = "DATABENTO_API_KEY"


class ApiKey:
    """
    A key that shows no more than its last five letters, whatever prints it.

    Parameters
    ----------
    key : str or None
        The key; None to take it from the environment's ``DATABENTO_API_KEY``.

    Raises
    ------
    ValueError
        There is none, or it cannot be one.
    """

    __slots__ = ("_key",)

    def __init__(self, key: str | None = None) -> None:
        if key is None:
            key = os.environ.get(KEY_VARIABLE)
            if key is None:
                raise ValueError(f"key is None and ${KEY_VARIABLE} is not set: expected an API key")
        if not isinstance(key, str):
            raise TypeError(f"key is of type {type(key).__name__}, expected a str")
        if key != key.strip():
            where = "begins" if key != key.lstrip() else "ends"
            raise ValueError(
                f"key {where} with whitespace, such as the line break of a file, expected none: "
                "strip() it"
            )
        if len(key) <= BUCKET_ID_LENGTH or not key.isascii() or not key.isprintable():
            raise ValueError(
                f"key has {len(key)} characters, expected more than {BUCKET_ID_LENGTH}, all ASCII"
            )
        self._key = key

    @property
    def secret(self) -> str:
        """The whole key."""
        return self._key

    @property
    def bucket_id(self) -> str:
        """Its last five letters."""
        return self._key[-BUCKET_ID_LENGTH:]

    def __repr__(self) -> str:
        return f"{HIDDEN}{self.bucket_id}"

    def __reduce__(self) -> tuple[type[ApiKey], tuple[str]]:
        raise TypeError("a key is not to be pickled")

    def hide(self, text: str) -> str:
        """
        Take the key out of a text.

        Parameters
        ----------
        text : str
            Of whatever origin.

        Returns
        -------
        str
            With the last five letters of it in place of all of it. What was cut short, as by the
            width of a field, goes too where more than its first five letters are left.
        """
        text, *cut = text.replace(self._key, repr(self)).split(self._begin)
        for part in cut:
            text += HIDDEN + part[n_common(part, self._rest) :]
        return text

    def hide_bytes(self, data: bytes) -> bytes:
        """
        Take the key out of bytes.

        Parameters
        ----------
        data : bytes
            Text in whatever encoding that has ASCII in it.

        Returns
        -------
        bytes
            As `hide` has it.
        """
        if self._begin.encode() not in data:
            return data
        return self.hide(data.decode("latin-1")).encode("latin-1")

    @property
    def _begin(self) -> str:
        # what can be only of this key, and of no other text
        return self._key[: BUCKET_ID_LENGTH + 1]

    @property
    def _rest(self) -> str:
        return self._key[BUCKET_ID_LENGTH + 1 :]


def n_common(one: str | bytes, other: str | bytes) -> int:
    """
    Count how many letters two texts have in common at their beginning.

    Parameters
    ----------
    one, other : str or bytes
        The texts, both of one type.

    Returns
    -------
    int
    """
    n = 0
    for mine, its in zip(one, other, strict=False):
        if mine != its:
            break
        n += 1
    return n


def cram_response(challenge: str, key: str) -> str:
    """
    Answer a challenge.

    Parameters
    ----------
    challenge : str
        The value of the gateway's ``cram``, as `control.parse_line` gave it.
    key : str
        The whole key.

    Returns
    -------
    str
        SHA-256 of ``challenge|key`` in lower-case hexadecimal, ``-``, the key's last five letters.
    """
    asked = challenge.encode("utf-8", "surrogateescape")
    digest = hashlib.sha256(asked + b"|" + key.encode()).hexdigest()
    return f"{digest}-{key[-BUCKET_ID_LENGTH:]}"


def matching_key(challenge: str, response: str, keys: Iterable[str]) -> str | None:
    """
    Find the key that a response was made with.

    Parameters
    ----------
    challenge : str
        What was asked.
    response : str
        What came; may be anything.
    keys : iterable of str
        The keys that are known.

    Returns
    -------
    str or None
        The key. The time it takes tells nothing of the keys.
    """
    given = response.encode("utf-8", "surrogateescape")
    found = None
    for key in keys:
        if hmac.compare_digest(cram_response(challenge, key).encode(), given):
            found = key
    return found
