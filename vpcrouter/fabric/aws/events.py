"""What EventBridge puts into a queue of SQS about instances: state changes and spot notices.

Only hints: whatever is lost here is seen by polling, a little later.
"""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from vpcrouter.fabric.aws.clients import DENIED, Sqs, translated
from vpcrouter.fabric.aws.errors import LostAnswerError, NotSentError
from vpcrouter.fabric.codes import Ec2Error
from vpcrouter.fabric.port import Clock, Heard, InstanceState

_STATE_CHANGE = "EC2 Instance State-change Notification"
_SPOT_NOTICE = "EC2 Spot Instance Interruption Warning"
_WAIT_SECONDS = 20
_PAUSE_SECONDS = 1.0
_AFTER_ERROR_SECONDS = 30.0
_AT_ONCE = 10


def parse_event(body: str) -> Heard | None:
    """What a message says; None where it is about something else, or no event at all."""
    try:
        event = json.loads(body)
        kind, detail = event["detail-type"], event["detail"]
        instance = detail["instance-id"]
        if kind == _SPOT_NOTICE:
            return Heard(str(instance), None)
        if kind == _STATE_CHANGE:
            return Heard(str(instance), InstanceState(detail["state"]))
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return None


class _DeafError(Exception):
    """A call to the queue was refused or not answered: which, why, and what to do."""


@contextmanager
def _named(action: str) -> Iterator[None]:
    """Names the call that fails. Raises _DeafError."""
    try:
        with translated():
            yield
    except Ec2Error as error:
        remedy = "check queue, region and account in the cluster file"
        if error.code in DENIED:
            remedy = "allow it; vpcrouter aws iam-policy --queue prints what is needed"
        raise _DeafError(f"{action} refused: {error.message}: {remedy}") from error
    except (NotSentError, LostAnswerError) as error:
        remedy = "check network, region and credentials"
        raise _DeafError(f"{action} not answered: {error}: {remedy}") from error


class QueueEvents:
    """Takes messages out of a queue in a thread of its own, until it is closed."""

    def __init__(self, sqs: Sqs, url: str, clock: Clock) -> None:
        self._sqs = sqs
        self._url = url
        self._clock = clock
        self._heard: queue.Queue[Heard] = queue.Queue()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="vpcrouter-events", daemon=True)
        self.problem = ""
        self._thread.start()

    def take(self) -> Sequence[Heard]:
        """What was heard since this was asked last."""
        found: list[Heard] = []
        while True:
            try:
                found.append(self._heard.get_nowait())
            except queue.Empty:
                return found

    def close(self) -> None:
        """Hear nothing more; the call that is under way ends by itself."""
        self._stop.set()

    def receive(self) -> int:
        """Ask once; how many messages came."""
        with _named("sqs:ReceiveMessage"):
            answer = self._sqs.receive_message(
                QueueUrl=self._url, MaxNumberOfMessages=_AT_ONCE, WaitTimeSeconds=_WAIT_SECONDS
            )
        messages = answer.get("Messages", [])
        for message in messages:  # all of them before anything can go wrong
            heard = parse_event(message["Body"])
            if heard is not None:
                self._heard.put(heard)
        for message in messages:
            with _named("sqs:DeleteMessage"):
                self._sqs.delete_message(QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"])
        return len(messages)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                pause = 0.0 if self.receive() else _PAUSE_SECONDS
                self.problem = ""
            except _DeafError as error:
                self.problem = f"{self._url}: {error}; until then instances are polled for"
                pause = _AFTER_ERROR_SECONDS
            self._stop.wait(pause)
