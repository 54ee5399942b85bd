"""Signature version 4 by botocore's signer. Only signing is AWS's: the request is sent by our own client."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials, ReadOnlyCredentials
from botocore.exceptions import BotoCoreError
from botocore.session import Session

from loopwright.core.errors import SettingsError, UpstreamRefused
from loopwright.kit.settings import ProviderSettings
from loopwright.providers.native import Question

_SERVICE = "bedrock"
_SENT = ("authorization", "x-amz-date", "x-amz-security-token")


class Signature:
    """Signs requests to one region."""

    def __init__(self, name: str, settings: ProviderSettings) -> None:
        """Raises SettingsError: no region, or half a pair of keys."""
        if not settings.region:
            raise SettingsError(f"providers.{name}.region is missing: the AWS region, e.g. us-east-1")
        if (settings.aws_access_key_id is None) != (settings.aws_secret_access_key is None):
            raise SettingsError(f"providers.{name}: aws_access_key_id and aws_secret_access_key go together")
        self._name = name
        self._region = settings.region
        self._base_url = (settings.base_url or "").rstrip("/")
        self._profile = settings.aws_profile
        self._credentials: Credentials | None = None
        if settings.aws_access_key_id is not None:
            self._credentials = Credentials(
                settings.aws_access_key_id, settings.aws_secret_access_key, settings.aws_session_token
            )
            self._lasting = True
        else:
            self._lasting = False

    async def __call__(self, question: Question, /) -> Mapping[str, str]:
        """The headers that carry the signature.

        Raises:
            UpstreamRefused: there are no credentials, or they cannot be renewed.
        """
        # Looking for credentials and renewing them reads files and asks the network: not in the loop.
        held = self._credentials if self._lasting else None
        frozen = held.get_frozen_credentials() if held is not None else await asyncio.to_thread(self._look)
        headers = {"content-type": "application/json"}
        request = AWSRequest(
            method=question.method, url=self._base_url + question.path, data=question.body, headers=headers
        )
        SigV4Auth(frozen, _SERVICE, self._region).add_auth(request)
        return {name.lower(): value for name, value in request.headers.items() if name.lower() in _SENT}

    def _look(self) -> ReadOnlyCredentials:
        try:
            if self._credentials is None:
                session = Session(profile=self._profile or os.environ.get("AWS_PROFILE"))
                self._credentials = session.get_credentials()
            if self._credentials is not None:
                return self._credentials.get_frozen_credentials()
        except BotoCoreError as problem:
            raise UpstreamRefused(f"provider {self._name!r} has no AWS credentials: {problem}") from None
        raise UpstreamRefused(
            f"provider {self._name!r} has no AWS credentials: set aws_access_key_id, or what AWS's tools read"
        )
