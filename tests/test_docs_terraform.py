"""The Terraform example is well-formed, and about what the router needs."""

from __future__ import annotations

import hcl2

from tests.commands import REPOSITORY

FILE = REPOSITORY / "docs" / "examples" / "router.tf"


def test_the_example_parses_and_makes_what_the_page_says() -> None:
    document = hcl2.loads(FILE.read_text(encoding="utf-8"))
    kinds = {kind.strip('"') for resource in document["resource"] for kind in resource}
    assert kinds == {
        "aws_cloudwatch_event_rule",
        "aws_cloudwatch_event_target",
        "aws_iam_role",
        "aws_iam_role_policy",
        "aws_sqs_queue",
        "aws_sqs_queue_policy",
        "aws_vpc_security_group_ingress_rule",
    }


def test_others_may_act_as_the_role_if_they_know_the_external_id() -> None:
    document = hcl2.loads(FILE.read_text(encoding="utf-8"))
    variables = {
        name.strip('"'): value for item in document["variable"] for name, value in item.items()
    }
    assert {"callers", "external_id"} <= variables.keys()
    policies = [item for each in document["data"] for item in each.values()]
    trust = next(value for item in policies for name, value in item.items() if "trust" in name)
    assert "sts:ExternalId" in str(trust)
    assert "var.callers" in str(trust)


def test_it_hears_the_events_that_are_understood() -> None:
    text = FILE.read_text(encoding="utf-8")
    for kind in (
        "EC2 Instance State-change Notification",
        "EC2 Spot Instance Interruption Warning",
    ):
        assert kind in text
