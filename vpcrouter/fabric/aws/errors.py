"""What a call to AWS can end with, in place of botocore's exceptions."""

from __future__ import annotations

from vpcrouter.fabric.codes import Ec2Error


class NotSentError(Exception):
    """The request has not reached AWS, or could not be made: it has had no effect."""


class NotPossibleError(NotSentError):
    """The request could not be made, and cannot be later: there are no credentials, for example."""


class LostAnswerError(Exception):
    """No answer that says anything: the request may have had its effect."""


class RoleError(Ec2Error):
    """A role could not be assumed, so that the call was not sent; ``role`` is its ARN."""

    def __init__(self, code: str, message: str, role: str) -> None:
        super().__init__(code, message)
        self.role = role


def one_line(error: object) -> str:
    """What an exception, or AWS, says, on one line and without a full stop."""
    return " ".join(str(error).split()).rstrip(".")
