"""JSON Web Tokens of somebody else's making: HS256 with a shared secret, or RS256 with a public key."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import jwt
from cachetools import LRUCache
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from cofio.access.callers import Caller, Permission
from cofio.errors import InvalidSettings
from cofio.settings import Settings
from cofio.text.clean import plain_text

LONGEST_TOKEN: Final = 8 * 1024
LEAST_SECRET_BYTES: Final = 32  # RFC 7518: a secret of HS256 is as long as its hash
LEAST_RSA_BITS: Final = 2048
# Tokens that were verified are not verified again until they expire: a signature of RS256 costs 40 µs.
KNOWN_TOKENS: Final = 1024
# So far may the issuer's clock be ahead of ours. It prolongs no token: see `caller`.
LEEWAY_S: Final = 30
_REQUIRED: Final = ("exp", "aud", "iss", "sub")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    caller: Caller
    expires_at: float


class TokenVerifier:
    """Verifies tokens against one key with one algorithm, whatever algorithm a token itself names."""

    def __init__(self, *, algorithm: str, key: str | RSAPublicKey, audience: str, issuer: str) -> None:
        self._algorithm = algorithm
        self._key = key
        self._audience = audience
        self._issuer = issuer
        self._known: LRUCache[bytes, _Known] = LRUCache(KNOWN_TOKENS)

    def caller(self, token: str) -> Caller | None:
        """Whom this token stands for; None unless signature, expiry, audience, issuer and subject hold.

        Its scopes are the words of `scope` (or a list under `scopes`) that cofio knows; `project` binds it to one.
        """
        if len(token) > LONGEST_TOKEN:
            return None
        digest = hashlib.sha256(token.encode()).digest()
        known = self._known.get(digest)
        if known is None:
            known = self._verify(token)
            if known is None:
                return None
            self._known[digest] = known
        return known.caller if time.time() < known.expires_at else None

    def _verify(self, token: str) -> _Known | None:
        try:
            claims = jwt.decode(
                token,
                self._key,
                algorithms=[self._algorithm],
                audience=self._audience,
                issuer=self._issuer,
                leeway=LEEWAY_S,
                options={"require": list(_REQUIRED)},
            )
            expires_at = float(claims["exp"])
            who = hashlib.sha256(claims["sub"].encode()).hexdigest()[:16]
        # PyJWT lets through a number beyond every float, and half of a character that UTF-8 has no bytes for.
        except (jwt.PyJWTError, OverflowError, UnicodeEncodeError):
            return None
        project = claims.get("project")
        # A claim that cannot be meant must not become a token without a project, which sees them all.
        if project is not None and not (isinstance(project, str) and (project := plain_text(project))):
            return None
        caller = Caller(name=f"token {who}", permissions=_permissions(claims), project=project)
        return _Known(caller=caller, expires_at=expires_at)


def open_verifier(settings: Settings) -> TokenVerifier | None:
    """What verifies tokens under these settings; None if they name neither a secret nor a public key.

    Raises InvalidSettings for keys that are too weak, and where audience or issuer is missing.
    """
    secret, file = settings.jwt_secret, settings.jwt_public_key_file
    if secret is None and file is None:
        return None
    if secret is not None and file is not None:
        raise InvalidSettings("set jwt_secret or jwt_public_key_file, not both", field="jwt_secret")
    if settings.jwt_audience is None or settings.jwt_issuer is None:
        raise InvalidSettings(
            "tokens need jwt_audience and jwt_issuer, or any token that the same key signed for somebody else would "
            "do",
            field="jwt_audience",
        )
    algorithm: str
    key: str | RSAPublicKey
    if file is not None:
        algorithm, key = "RS256", _public_key(file)
    else:
        algorithm, key = "HS256", secret.get_secret_value() if secret else ""
        if len(key.encode()) < LEAST_SECRET_BYTES:
            raise InvalidSettings(
                f"jwt_secret has fewer than {LEAST_SECRET_BYTES} bytes; make one with `openssl rand -base64 32`",
                field="jwt_secret",
            )
    return TokenVerifier(
        algorithm=algorithm, key=key, audience=settings.jwt_audience, issuer=settings.jwt_issuer
    )


def _public_key(file: Path) -> RSAPublicKey:
    try:
        key = load_pem_public_key(file.read_bytes())
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        raise InvalidSettings(
            f"jwt_public_key_file {file} holds no public key in PEM: {error}", field="jwt_public_key_file"
        ) from error
    if not isinstance(key, RSAPublicKey) or key.key_size < LEAST_RSA_BITS:
        raise InvalidSettings(
            f"jwt_public_key_file {file} holds no RSA key of at least {LEAST_RSA_BITS} bits",
            field="jwt_public_key_file",
        )
    return key


def _permissions(claims: dict[str, Any]) -> frozenset[Permission]:
    told = claims.get("scope", claims.get("scopes", ""))
    words = told.split() if isinstance(told, str) else told if isinstance(told, list) else []
    return frozenset(permission for permission in Permission if permission.value in words)
