"""boto3's clients, and what their exceptions mean.

botocore's own retries are off: they know neither which calls may be repeated nor any deadline.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    HTTPClientError,
    ReadTimeoutError,
    ResponseStreamingError,
)
from botocore.exceptions import ConnectTimeoutError as BotoConnectTimeoutError
from botocore.exceptions import EndpointConnectionError as BotoEndpointError
from botocore.parsers import ResponseParserError

from ipam.errors import BadInputError
from vpcrouter.fabric.aws.errors import LostAnswerError, NotPossibleError, NotSentError, one_line
from vpcrouter.fabric.aws.role import acting_as
from vpcrouter.fabric.aws.settings import AssumedRole
from vpcrouter.fabric.codes import Code, Ec2Error

CREDENTIALS = frozenset(
    {
        "AuthFailure",
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "MissingAuthenticationToken",
        "OptInRequired",
        "RequestExpired",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
DENIED = frozenset({Code.UNAUTHORIZED.value, "AccessDenied", "AccessDeniedException"})

_CONFIG = Config(
    retries={"total_max_attempts": 1, "mode": "standard"},
    connect_timeout=5,
    read_timeout=30,
    user_agent_extra="vpcrouter",
)

# Answered with a 5xx status, yet certainly without effect.
_WITHOUT_EFFECT = frozenset(
    {
        Code.REQUEST_LIMIT.value,
        Code.THROTTLING.value,
        Code.THROTTLING_TOO.value,
        Code.UNAVAILABLE.value,
        Code.SERVICE_UNAVAILABLE.value,
    }
)
# What EC2 appends for administrators to decode: kilobytes in one word.
_ENCODED = "Encoded authorization failure message"


class Clients:
    """EC2 and Service Quotas in one region, with the usual chain of credentials."""

    def __init__(self, session: boto3.Session, region: str, endpoint: str | None) -> None:
        with _built():
            self.ec2 = session.client(
                "ec2", region_name=region, endpoint_url=endpoint, config=_CONFIG
            )
            self.quotas = session.client(
                "service-quotas", region_name=region, endpoint_url=endpoint, config=_CONFIG
            )
        self.region = region
        self._session = session
        self._endpoint = endpoint

    def sqs(self) -> Sqs:
        """A client for queues, which few need. Raises BadInputError."""
        with _built():
            client: Sqs = self._session.client(
                "sqs", region_name=self.region, endpoint_url=self._endpoint, config=_CONFIG
            )
        return client


class Sqs(Protocol):
    """The two calls of SQS that are made."""

    def receive_message(
        self,
        *,
        QueueUrl: str,  # noqa: N803 - boto3's names
        MaxNumberOfMessages: int,  # noqa: N803
        WaitTimeSeconds: int,  # noqa: N803
    ) -> Mapping[str, Any]:
        """Messages, after waiting for the first one."""
        ...

    def delete_message(self, *, QueueUrl: str, ReceiptHandle: str) -> object:  # noqa: N803
        """Take a message out."""
        ...


def connect(region: str, endpoint: str | None, role: AssumedRole | None) -> Clients:
    """Clients with the credentials of the environment, or of the role that those may assume.

    Raises BadInputError.
    """
    with _built():
        session = signing(botocore.session.Session(), region, endpoint, role)
    return Clients(session, region, endpoint)


def signing(
    source: botocore.session.Session, region: str, endpoint: str | None, role: AssumedRole | None
) -> boto3.Session:
    """A session that signs as ``source`` does, or as the role that whoever that is may assume."""
    if role is not None:
        source = acting_as(role, source, region, endpoint, _CONFIG)
    return boto3.Session(botocore_session=source, region_name=region)


@contextmanager
def _built() -> Iterator[None]:
    """Building asks nobody; what fails is a setting."""
    try:
        yield
    except (BotoCoreError, ValueError) as error:
        text = one_line(error)
        raise BadInputError(
            f"AWS: {text}: see the cluster file's region and endpoint, and AWS_PROFILE"
        ) from error


@contextmanager
def translated() -> Iterator[None]:
    """Calls inside raise Ec2Error, NotSentError or LostAnswerError, and none of botocore's."""
    try:
        yield
    except ClientError as error:
        details = error.response.get("Error", {})
        code = str(details.get("Code", ""))
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        message, _, _ = str(details.get("Message", "")).partition(_ENCODED)
        message = one_line(message)
        if status >= 500 and code not in _WITHOUT_EFFECT:
            raise LostAnswerError(f"{code}: {message}") from error
        raise Ec2Error(code, message) from error
    except (BotoConnectTimeoutError, BotoEndpointError) as error:
        raise NotSentError(one_line(error)) from error
    except (
        ConnectionClosedError,
        HTTPClientError,
        ReadTimeoutError,
        ResponseParserError,
        ResponseStreamingError,
    ) as error:
        raise LostAnswerError(one_line(error)) from error
    except BotoCoreError as error:
        raise NotPossibleError(one_line(error)) from error
