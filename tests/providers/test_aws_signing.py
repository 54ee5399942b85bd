"""What goes over the wire is signed as AWS will compute it again from what it sees."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from pathlib import Path
from urllib.parse import quote

import pytest

from loopwright.core.errors import UpstreamRefused
from loopwright.kit.settings import ProviderSettings
from loopwright.providers.bedrock import bedrock
from loopwright.testing import FaultyUpstream
from loopwright.testing.upstream import Seen
from tests.providers.asking import ask, request
from tests.providers.natives import facing, gathered

MODEL = "arn:aws:bedrock:eu-west-1:1:inference-profile/eu.anthropic.claude-sonnet-4-5-v1:0"


def recomputed(seen: Seen, secret: str, *, path: str) -> str:
    """Signature version 4 as its specification has it, written without the signer's help."""
    scope, signed = (
        seen.headers["authorization"].split(name)[1].split(",")[0] for name in ("Credential=", "SignedHeaders=")
    )
    _, day, region, service, end = scope.split("/")
    headers = "".join(f"{name}:{' '.join(seen.headers[name].split())}\n" for name in signed.split(";"))
    canonical = "\n".join(
        [seen.method, quote(path, safe="/~"), "", headers, signed, hashlib.sha256(seen.body).hexdigest()]
    )
    text = "\n".join(
        [
            "AWS4-HMAC-SHA256",
            seen.headers["x-amz-date"],
            f"{day}/{region}/{service}/{end}",
            hashlib.sha256(canonical.encode()).hexdigest(),
        ]
    )
    key = f"AWS4{secret}".encode()
    for part in (day, region, service, end):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


@pytest.mark.anyio
@pytest.mark.parametrize("stream", [False, True])
async def test_the_signature_fits_what_arrives(*, stream: bool) -> None:
    async with facing("bedrock") as (upstream, provider):
        await ask(provider.chat(MODEL), request("near", stream=stream))
        seen = upstream.seen[0]
        assert seen.path == f"/model/{quote(MODEL, safe='')}/converse{'-stream' if stream else ''}"
        signature = seen.headers["authorization"].split("Signature=")[1]
        assert signature == recomputed(seen, "sk-very-secret", path=seen.path)
        assert "/eu-west-1/bedrock/aws4_request" in seen.headers["authorization"]


@pytest.mark.anyio
async def test_a_session_token_and_a_bedrock_key_are_sent() -> None:
    async with asyncio.timeout(30), FaultyUpstream() as upstream:
        url = upstream.url.removesuffix("/v1")
        keys = {"aws_access_key_id": "A", "aws_secret_access_key": "s", "aws_session_token": "token"}
        provider = bedrock("aws", ProviderSettings(kind="bedrock", region="eu-west-1", base_url=url, **keys))  # type: ignore[arg-type]
        await ask(provider.chat("m"), request("near"))
        await provider.close()
        assert upstream.seen[0].headers["x-amz-security-token"] == "token"
        assert "x-amz-security-token" in upstream.seen[0].headers["authorization"]
        provider = bedrock("aws", ProviderSettings(kind="bedrock", base_url=url, api_key="bedrock-key"))
        await ask(provider.chat("m"), request("near"))
        await provider.close()
        assert upstream.seen[1].headers["authorization"] == "Bearer bedrock-key"


@pytest.mark.anyio
async def test_credentials_are_found_as_aws_tools_find_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = tmp_path / "credentials"
    shared.write_text("[work]\naws_access_key_id = AKIDSHARED\naws_secret_access_key = s\n")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(shared))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    async with asyncio.timeout(30), FaultyUpstream() as upstream:
        url = upstream.url.removesuffix("/v1")
        settings = ProviderSettings(kind="bedrock", region="eu-west-1", base_url=url, aws_profile="work")
        provider = bedrock("aws", settings)
        assert gathered(await ask(provider.chat("m"), request("near")))["text"]
        await provider.close()
        assert "AKIDSHARED" in upstream.seen[0].headers["authorization"]
        for profile in (None, "nobody"):
            settings = ProviderSettings(kind="bedrock", region="eu-west-1", base_url=url, aws_profile=profile)
            provider = bedrock("aws", settings)
            with pytest.raises(UpstreamRefused, match="no AWS credentials"):
                await ask(provider.chat("m"), request("near"))
            await provider.close()
        assert upstream.requests == 1
