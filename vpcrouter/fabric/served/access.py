"""Who may do what in the served account, and the roles that can be assumed there."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from vpcrouter.fabric.codes import Ec2Error
from vpcrouter.fabric.served.iam import Asked, Policy

UNKNOWN = "InvalidClientTokenId"
EXPIRED = "ExpiredToken"


class NotAllowedError(Exception):
    """No policy allows it; the message is AWS's, without an encoded one."""


@dataclass(frozen=True, slots=True)
class Role:
    """A role that can be assumed by who knows its external id (None: it has none).

    ``policy`` is what it may do (None: everything); its credentials are good for ``seconds``.
    """

    policy: Policy | None
    external_id: str | None = None
    seconds: float = 3600.0


@dataclass(frozen=True, slots=True)
class Credentials:
    """Temporary ones of a role."""

    key: str
    secret: str
    token: str
    expires: datetime
    role: str
    session: str


class Access:
    """Identities: who calls with credentials of its own, and ``roles`` by their ARNs.

    ``policy`` is what the first may do (None: everything). For several threads.
    """

    def __init__(self, policy: Policy | None, roles: Mapping[str, Role]) -> None:
        self.policy = policy
        self._roles = roles
        self._issued: dict[str, Credentials] = {}
        self._lock = threading.Lock()

    def check(self, key: str, token: str, asked: Asked) -> None:
        """Raises NotAllowedError, or Ec2Error where the credentials are no good."""
        policy, who = self._identity(key, token)
        if policy is not None and not policy.allows(asked):
            raise NotAllowedError(
                f"User: {who} is not authorized to perform: {asked.action} on resource: "
                f"{asked.resource} because no identity-based policy allows the "
                f"{asked.action} action"
            )

    def assume(self, role: str, external_id: str | None, session: str) -> Credentials:
        """New credentials. Raises NotAllowedError where the role does not trust the caller."""
        known = self._roles.get(role)
        if known is None or known.external_id != external_id:
            raise NotAllowedError(
                f"User: {_CALLER} is not authorized to perform: sts:AssumeRole on resource: {role}"
            )
        expires = datetime.now(UTC) + timedelta(seconds=known.seconds)
        with self._lock:
            key = f"ASIA{len(self._issued):016d}"
            made = Credentials(key, uuid.uuid4().hex, uuid.uuid4().hex, expires, role, session)
            self._issued[key] = made
        return made

    def _identity(self, key: str, token: str) -> tuple[Policy | None, str]:
        credentials = self._issued.get(key)
        if credentials is None:
            return self.policy, _CALLER
        if credentials.token != token:
            raise Ec2Error(UNKNOWN, "The security token included in the request is invalid")
        if credentials.expires <= datetime.now(UTC):
            raise Ec2Error(EXPIRED, "The security token included in the request is expired")
        name = credentials.role.replace(":role/", ":assumed-role/").replace(":iam:", ":sts:")
        return self._roles[credentials.role].policy, f"{name}/{credentials.session}"


_CALLER = "arn:aws:iam::000000000000:user/caller"
