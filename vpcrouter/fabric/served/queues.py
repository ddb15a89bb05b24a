"""SQS' calls: one queue of the served account, whatever its URL."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from vpcrouter.fabric.codes import Ec2Error
from vpcrouter.fabric.served.account import Account

TARGET = "AmazonSQS."
KIND = "application/x-amz-json-1.0"

_MOST = 10


def url_of(body: str) -> str:
    """The URL of the queue that a request is about; empty where it says none."""
    try:
        document: object = json.loads(body)
    except ValueError:
        return ""
    return str(document.get("QueueUrl", "")) if isinstance(document, dict) else ""


def answer_call(account: Account, action: str, body: str) -> Mapping[str, object]:
    """The answer to an action, at once. Raises Ec2Error with SQS' codes."""
    try:
        document: object = json.loads(body)
    except ValueError as error:
        raise Ec2Error("SerializationException", "The request is no JSON.") from error
    if not isinstance(document, dict) or not document.get("QueueUrl"):
        raise Ec2Error("MissingParameter", "The request must contain the parameter QueueUrl.")
    if action == "ReceiveMessage":
        most = document.get("MaxNumberOfMessages", 1)
        if not isinstance(most, int) or not 1 <= most <= _MOST:
            raise Ec2Error("InvalidParameterValue", "MaxNumberOfMessages is 1 to 10.")
        return {"Messages": [_message(*item) for item in list(account.queue.items())[:most]]}
    if action == "DeleteMessage":
        if account.queue.pop(str(document.get("ReceiptHandle")), None) is None:
            raise Ec2Error("ReceiptHandleIsInvalid", "The receipt handle is none of this queue's.")
        return {}
    raise Ec2Error("UnknownOperationException", f"There is no action {action}.")


def _message(handle: str, body: str) -> Mapping[str, str]:
    digest = hashlib.md5(body.encode(), usedforsecurity=False).hexdigest()
    return {"MessageId": handle, "ReceiptHandle": handle, "MD5OfBody": digest, "Body": body}
