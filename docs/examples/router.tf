# What the router needs in AWS: a role with the policy of `vpcrouter aws iam-policy`, and, if wanted,
# a queue with events about instances. Adapt the variables; nothing here touches routes.

variable "cluster" {
  type    = string
  default = "production"
}

variable "vpc" {
  type = string # vpc-0123456789abcdef0
}

variable "policy" {
  type        = string
  description = "Output of: vpcrouter aws iam-policy -f cluster.yaml --queue ARN"
}

variable "pods" {
  type    = list(string)
  default = ["100.64.0.0/10"]
}

variable "node_security_group" {
  type = string
}

variable "callers" {
  type        = list(string)
  description = "Who else may act as the role by fabric.role, such as a role of another account"
  default     = []
}

variable "external_id" {
  type        = string
  description = "fabric.role.external_id of the cluster file, which these callers then have to know"
  default     = null
}

data "aws_iam_policy_document" "trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ec2.amazonaws.com"]
    }
  }

  dynamic "statement" {
    for_each = length(var.callers) == 0 ? [] : [var.callers]

    content {
      actions = ["sts:AssumeRole"]

      principals {
        type        = "AWS"
        identifiers = statement.value
      }

      dynamic "condition" {
        for_each = var.external_id == null ? [] : [var.external_id]

        content {
          test     = "StringEquals"
          variable = "sts:ExternalId"
          values   = [condition.value]
        }
      }
    }
  }
}

resource "aws_iam_role" "router" {
  name               = "vpcrouter-${var.cluster}"
  assume_role_policy = data.aws_iam_policy_document.trust.json
}

resource "aws_iam_role_policy" "router" {
  name   = "vpcrouter"
  role   = aws_iam_role.router.id
  policy = var.policy
}

# A reference to a group does not match addresses of pods: name the networks.
resource "aws_vpc_security_group_ingress_rule" "pods" {
  for_each          = toset(var.pods)
  security_group_id = var.node_security_group
  cidr_ipv4         = each.value
  ip_protocol       = "-1"
}

resource "aws_sqs_queue" "events" {
  name                      = "vpcrouter-${var.cluster}"
  message_retention_seconds = 300
}

resource "aws_cloudwatch_event_rule" "instances" {
  name = "vpcrouter-${var.cluster}"

  event_pattern = jsonencode({
    source = ["aws.ec2"]
    "detail-type" = [
      "EC2 Instance State-change Notification",
      "EC2 Spot Instance Interruption Warning",
    ]
  })
}

resource "aws_cloudwatch_event_target" "instances" {
  rule = aws_cloudwatch_event_rule.instances.name
  arn  = aws_sqs_queue.events.arn
}

data "aws_iam_policy_document" "events" {
  statement {
    actions   = ["sqs:SendMessage"]
    resources = [aws_sqs_queue.events.arn]

    principals {
      type        = "Service"
      identifiers = ["events.amazonaws.com"]
    }
  }
}

resource "aws_sqs_queue_policy" "events" {
  queue_url = aws_sqs_queue.events.id
  policy    = data.aws_iam_policy_document.events.json
}

output "role" {
  value = aws_iam_role.router.arn # fabric.role.arn of the cluster file, for those callers
}

output "queue" {
  value = aws_sqs_queue.events.url # fabric.queue of the cluster file
}
