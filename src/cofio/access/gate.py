"""The gate of a service: which caller a credential stands for, and whether one without may pass."""

from __future__ import annotations

import ipaddress

from cofio.access.callers import Caller
from cofio.access.keys import PREFIX, KeyRing, keys_path
from cofio.access.tokens import TokenVerifier, open_verifier
from cofio.errors import InvalidSettings
from cofio.settings import Settings


class Gate:
    """Keys and tokens of one service. It is `closed` once a key has ever been made, or where tokens are set up."""

    def __init__(self, keys: KeyRing, tokens: TokenVerifier | None) -> None:
        self.keys = keys
        self._tokens = tokens

    @property
    def closed(self) -> bool:
        """Whether everybody needs a key or a token."""
        return self._tokens is not None or self.keys.in_use

    def caller(self, credential: str) -> Caller | None:
        """Whom a key or a token stands for; None if it stands for nobody."""
        if credential.startswith(PREFIX):
            return self.keys.caller(credential)
        return self._tokens.caller(credential) if self._tokens else None


def open_gate(settings: Settings) -> Gate:
    """The gate that these settings describe, with the keys that there are now.

    Raises InvalidSettings for an address that others can reach while nobody needs a key, and `allow_anonymous` is
    not set; and what is wrong with the settings of tokens.
    """
    gate = Gate(KeyRing(keys_path(settings)), open_verifier(settings))
    if not (gate.closed or settings.allow_anonymous or is_loopback(settings.host)):
        raise InvalidSettings(
            f"{settings.host} can be reached from other machines, and there are no keys: anybody could read and "
            "delete every meeting. Make a key with `cofio keys create --scope admin --name me` (for the same "
            "--data-dir), or listen on 127.0.0.1, or set allow_anonymous (COFIO_ALLOW_ANONYMOUS=true) if something in "
            "front of this service decides who may come through.",
            field="host",
        )
    return gate


def is_loopback(host: str) -> bool:
    """Whether an address, or `localhost`, is reached from this machine alone."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
