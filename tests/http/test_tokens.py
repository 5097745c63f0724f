"""JSON Web Tokens: what holds is let in with what it says, and nothing else is."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hash_encoder import HashEncoder
from in_process import client
from keyed import header

from cofio.access.callers import Permission
from cofio.access.gate import open_gate
from cofio.access.tokens import open_verifier
from cofio.errors import InvalidSettings
from cofio.runtime import open_runtime
from cofio.settings import Settings

QUERY: Final = "/api/v2/query"
SECRET: Final = "a secret of more than sixty-four bytes, so that longer algorithms take it too"
OURS: Final[dict[str, Any]] = {"jwt_audience": "cofio", "jwt_issuer": "https://id.example"}


def claims(**changed: Any) -> dict[str, Any]:
    told = {
        "sub": "ann",
        "aud": "cofio",
        "iss": "https://id.example",
        "exp": int(time.time()) + 600,
        "scope": "openid query",
        **changed,
    }
    return {name: value for name, value in told.items() if value is not None}


def signed(key: Any = SECRET, algorithm: str = "HS256", **changed: Any) -> str:
    return jwt.encode(claims(**changed), key, algorithm=algorithm)


def unsigned(head: dict[str, Any], **changed: Any) -> str:
    parts = [
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (head, claims(**changed))
    ]
    return b".".join([*parts, b""]).decode()


RSA: Final = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PUBLIC: Final = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@contextlib.asynccontextmanager
async def opened(folder: Path, **changed: Any) -> AsyncIterator[tuple[httpx.AsyncClient, Settings]]:
    chosen = Settings(data_dir=folder / "store", query_rate="", **{**OURS, **changed})
    async with open_runtime(chosen, HashEncoder()) as runtime, client(chosen, runtime) as asked:
        yield asked, chosen


async def ask(asked: httpx.AsyncClient, token: str, path: str = QUERY) -> int:
    headers = {"Authorization": f"Bearer {token}"}
    if path == QUERY:
        return (await asked.post(path, json={"query": "roof"}, headers=headers)).status_code
    return (await asked.get(path, headers=headers)).status_code


async def test_a_token_is_let_in_with_its_scopes_and_project(tmp_path: Path) -> None:
    async with opened(tmp_path, jwt_secret=SECRET) as (asked, chosen):
        assert (await asked.post(QUERY, json={"query": "roof"})).status_code == 401
        assert await ask(asked, signed()) == 200
        assert await ask(asked, signed(scope=None, scopes=["query", 7])) == 200
        # The issuer's clock is a little ahead.
        ahead = int(time.time()) + 10
        assert await ask(asked, signed(iat=ahead, nbf=ahead)) == 200
        assert await ask(asked, signed(), "/metrics") == 403
        assert await ask(asked, signed(scope="admin"), "/metrics") == 200
        assert await ask(asked, signed(scope="admin", project="atlas"), "/metrics") == 403
        assert await ask(asked, signed(scope="ingest")) == 403
        for scope in ("", "openid queryx", None, 7, {"query": True}, "QUERY"):
            assert await ask(asked, signed(scope=scope)) == 403
        meeting = {"title": "Roof", "transcript": "Ann: Leaking."}
        bound = {"Authorization": f"Bearer {signed(scope='ingest query', project='atlas')}"}
        assert (await asked.post("/ingest", json=meeting, headers=bound)).status_code == 200
        (stored,) = (await asked.get("/api/v2/meetings", headers=bound)).json()["meetings"]
        assert stored["project"] == "atlas"
        refused = await asked.post("/ingest", json={**meeting, "project": "other"}, headers=bound)
        assert refused.status_code == 403
        # A key does beside tokens.
        key = header(chosen, Permission.QUERY)
        while (await asked.get("/api/v2/meetings", headers=key)).status_code == 401:
            await asyncio.sleep(0.02)


async def test_tokens_that_do_not_hold_are_refused(tmp_path: Path) -> None:
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    good = signed()
    head, body, signature = good.split(".")
    forged = base64.urlsafe_b64encode(json.dumps(claims(scope="admin")).encode()).rstrip(b"=").decode()
    wrong = {
        "without expiry": signed(exp=None),
        "expired": signed(exp=int(time.time()) - 1),
        "expiry of no number": unsigned({"alg": "HS256"}, exp="never"),
        "not yet": signed(nbf=int(time.time()) + 600),
        "issued tomorrow": signed(iat=int(time.time()) + 86_400),
        "without audience": signed(aud=None),
        "for somebody else": signed(aud="other"),
        "without issuer": signed(iss=None),
        "from somebody else": signed(iss="https://id.example.evil"),
        "of nobody": signed(sub=None),
        "with another secret": signed(SECRET + "!"),
        "with a secret of nothing": unsigned({"alg": "HS256", "typ": "JWT"}),
        "signed by nobody": unsigned({"alg": "none"}),
        "signed by Nobody": unsigned({"alg": "None"}),
        "longer algorithm": signed(algorithm="HS512"),
        "rsa": signed(other, "RS256"),
        "forged": f"{head}.{forged}.{signature}",
        "without signature": f"{head}.{body}.",
        "two parts": f"{head}.{body}",
        "no base64": f"{head}.{body}.~~~",
        "huge": f"{head}.{'A' * 60_000}.{signature}",
        "deep": f"{head}.{base64.urlsafe_b64encode(b'[' * 3000).decode()}.{signature}",
        "its own key": jwt.encode(
            claims(), "x" * 32, algorithm="HS256", headers={"jwk": {"kty": "oct", "k": "eHh4"}}
        ),
        "expiry beyond every float": signed(exp=10**400),
        "of no text": signed(sub="\ud800"),
        "project of no name": signed(project=""),
        "project of no text": signed(project=["atlas"]),
        "project of nothing to see": signed(project="\u200b"),
    }
    async with opened(tmp_path, jwt_secret=SECRET) as (asked, _):
        assert await ask(asked, good) == 200
        refused = {name: await ask(asked, token) for name, token in wrong.items()}
        assert refused == dict.fromkeys(wrong, 401)


async def test_a_public_key_verifies_and_is_no_secret(tmp_path: Path) -> None:
    file = tmp_path / "public.pem"
    file.write_bytes(PUBLIC)
    async with opened(tmp_path, jwt_public_key_file=file) as (asked, _):
        assert await ask(asked, signed(RSA, "RS256")) == 200
        other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        assert await ask(asked, signed(other, "RS256")) == 401
        assert await ask(asked, signed(RSA, "PS256")) == 401
        # The public key taken for the secret of HS256, which PyJWT itself would not sign with.
        head = base64.urlsafe_b64encode(b'{"alg":"HS256","typ":"JWT"}').rstrip(b"=")
        body = base64.urlsafe_b64encode(json.dumps(claims()).encode()).rstrip(b"=")
        hmac = jwt.get_algorithm_by_name("HS256").sign(head + b"." + body, PUBLIC)
        confused = b".".join([head, body, base64.urlsafe_b64encode(hmac).rstrip(b"=")]).decode()
        assert await ask(asked, confused) == 401


def test_a_known_token_ends_when_it_expires(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    verifier = open_verifier(Settings(data_dir=tmp_path, **{**OURS, "jwt_secret": SECRET}))
    assert verifier is not None
    token = signed()
    assert verifier.caller(token) == verifier.caller(token) is not None
    # A real token that expires while the test waits may expire before it is first asked of.
    later = time.time() + 601
    monkeypatch.setattr("cofio.access.tokens.time.time", lambda: later)
    assert verifier.caller(token) is None


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"jwt_secret": "short"}, "32 bytes"),  # pragma: allowlist secret
        ({"jwt_secret": SECRET, "jwt_audience": None}, "jwt_audience"),
        ({"jwt_secret": SECRET, "jwt_issuer": None}, "jwt_issuer"),
        ({"jwt_secret": SECRET, "jwt_public_key_file": "public.pem"}, "not both"),
        ({"jwt_public_key_file": "missing.pem"}, "missing.pem"),
        ({"jwt_public_key_file": "private.pem"}, "no public key"),
        ({"jwt_public_key_file": "small.pem"}, "2048"),
        ({"jwt_public_key_file": "curve.pem"}, "RSA"),
    ],
)
def test_settings_that_would_let_others_in_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: dict[str, Any], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    info = PublicFormat.SubjectPublicKeyInfo
    small = rsa.generate_private_key(public_exponent=65537, key_size=1024).public_key()
    curve = ec.generate_private_key(ec.SECP256R1()).public_key()
    for name, content in {
        "public": PUBLIC,
        "small": small.public_bytes(Encoding.PEM, info),
        "curve": curve.public_bytes(Encoding.PEM, info),
        "private": RSA.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    }.items():
        (tmp_path / f"{name}.pem").write_bytes(content)
    with pytest.raises(InvalidSettings, match=says):
        open_gate(Settings(data_dir=tmp_path, **{**OURS, **changed}))


def test_tokens_close_a_service_on_any_address(tmp_path: Path) -> None:
    assert open_gate(Settings(data_dir=tmp_path, **{**OURS, "host": "0.0.0.0", "jwt_secret": SECRET})).closed
