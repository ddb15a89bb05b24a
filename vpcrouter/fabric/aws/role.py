"""Acting as a role: botocore assumes it, and again before its credentials expire."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import botocore.session
from botocore.config import Config
from botocore.credentials import (
    AssumeRoleCredentialFetcher,
    CredentialProvider,
    CredentialResolver,
    DeferredRefreshableCredentials,
)
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from vpcrouter.fabric.aws.errors import NotPossibleError, NotSentError, RoleError, one_line
from vpcrouter.fabric.aws.policy import ASSUMING
from vpcrouter.fabric.aws.settings import AssumedRole

_METHOD = "assume-role"


@dataclass(frozen=True, slots=True)
class _Assuming:
    """How a role is assumed: as ``role`` says, by who the usual chain of credentials says."""

    role: AssumedRole
    source: botocore.session.Session
    region: str
    endpoint: str | None
    config: Config

    def fetch(self) -> Mapping[str, Any]:
        """New credentials. Raises RoleError, NotSentError or NotPossibleError.

        Whatever call was to be signed with them has not been sent then.
        """
        try:
            return self._fetch()
        except ClientError as error:
            details = error.response.get("Error", {})
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            message = one_line(details.get("Message", ""))
            if status >= 500:
                raise NotSentError(f"{ASSUMING} of {self.role.arn} failed: {message}") from error
            raise RoleError(str(details.get("Code", "")), message, self.role.arn) from error
        except NoCredentialsError as error:
            raise NotPossibleError(one_line(error)) from error
        except BotoCoreError as error:
            text = f"{ASSUMING} of {self.role.arn}: {one_line(error)}"
            raise NotSentError(text) from error

    def _fetch(self) -> Mapping[str, Any]:
        credentials = self.source.get_credentials()
        if credentials is None:
            raise NoCredentialsError
        more = {"RoleSessionName": self.role.session}
        if self.role.external_id is not None:
            more["ExternalId"] = self.role.external_id
        creator = functools.partial(
            self.source.create_client,
            region_name=self.region,
            endpoint_url=self.endpoint,
            config=self.config,
        )
        fetcher = AssumeRoleCredentialFetcher(creator, credentials, self.role.arn, more)
        fetched: Mapping[str, Any] = fetcher.fetch_credentials()
        return fetched


class _Provider(CredentialProvider):
    """Gives credentials that are fetched when they are needed first, and again in time."""

    METHOD = _METHOD

    def __init__(self, assuming: _Assuming) -> None:
        super().__init__()
        self._assuming = assuming

    def load(self) -> DeferredRefreshableCredentials:
        return DeferredRefreshableCredentials(self._assuming.fetch, _METHOD)


def acting_as(
    role: AssumedRole,
    source: botocore.session.Session,
    region: str,
    endpoint: str | None,
    config: Config,
) -> botocore.session.Session:
    """A session with the credentials of a role, which whoever ``source`` is may assume.

    Asks nobody yet.
    """
    session = botocore.session.Session()
    provider = _Provider(_Assuming(role, source, region, endpoint, config))
    session.register_component("credential_provider", CredentialResolver([provider]))
    return session
