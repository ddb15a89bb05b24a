"""STS' one call: assuming a role, and its XML."""

from __future__ import annotations

import re
from xml.sax.saxutils import escape

from vpcrouter.fabric.codes import Ec2Error
from vpcrouter.fabric.served.access import Access
from vpcrouter.fabric.served.parameters import Parameters

VERSION = "2011-06-15"
ACTION = "AssumeRole"

_NAMESPACE = "https://sts.amazonaws.com/doc/2011-06-15/"
_SESSION = re.compile(r"[\w+=,.@-]{2,64}", re.ASCII)
_SHORTEST, _LONGEST = 900, 43_200


def answer_call(access: Access, parameters: Parameters, request: str) -> str:
    """The answer to AssumeRole. Raises Ec2Error with STS' codes, or NotAllowedError."""
    if parameters.action != ACTION:
        raise Ec2Error("InvalidAction", f"Could not find operation {parameters.action}")
    role = parameters.text("RoleArn")
    session = parameters.text("RoleSessionName")
    external_id = parameters.optional("ExternalId")
    parameters.number("DurationSeconds", _SHORTEST, _LONGEST)
    parameters.optional("Version")
    parameters.end()
    if not _SESSION.fullmatch(session):
        raise Ec2Error("ValidationError", f"The session name '{session}' is invalid")
    if not role.startswith("arn:"):
        raise Ec2Error("ValidationError", f"{role} is invalid")
    made = access.assume(role, external_id, session)
    fields = {
        "AccessKeyId": made.key,
        "SecretAccessKey": made.secret,
        "SessionToken": made.token,
        "Expiration": made.expires.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    text = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in fields.items())
    return (
        f'<AssumeRoleResponse xmlns="{_NAMESPACE}"><AssumeRoleResult>'
        f"<Credentials>{text}</Credentials></AssumeRoleResult>"
        f"<ResponseMetadata><RequestId>{request}</RequestId></ResponseMetadata>"
        "</AssumeRoleResponse>"
    )


def refusal(code: str, message: str, request: str) -> str:
    """What it answers instead."""
    return (
        f'<ErrorResponse xmlns="{_NAMESPACE}"><Error><Type>Sender</Type>'
        f"<Code>{escape(code)}</Code><Message>{escape(message)}</Message></Error>"
        f"<RequestId>{request}</RequestId></ErrorResponse>"
    )
