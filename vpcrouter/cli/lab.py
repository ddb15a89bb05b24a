"""``vpcrouter lab``: a whole cluster in network namespaces of this machine."""

from __future__ import annotations

from vpcrouter.cli.lazy import LazyGroup

command = LazyGroup(
    {
        "up": ("lab_up", "Make a lab: nodes, pods, addresses and route tables."),
        "status": ("lab_status", "Show what there is, and what is broken."),
        "ping": ("lab_ping", "Ping pods from pods."),
        "break": ("lab_break", "Break a node, an agent, a link or the store."),
        "heal": ("lab_heal", "Undo what was broken."),
        "apply": ("lab_apply", "Change the route tables by the nodes' health, and watch."),
        "explain": ("lab_explain", "Say where packets to a pod go, and follow one."),
        "down": ("lab_down", "Remove the lab with all that belongs to it."),
        "tour": ("lab_tour", "Make a lab, fail a forwarder, repair it, and remove it again."),
    },
    "lab",
    "A whole cluster in network namespaces of this machine, with real agents, pods and packets. "
    "Needs root, and keeps clear of the machine's own network.",
    "\b\nExamples:\n  vpcrouter lab up --zones 3 --nodes 8 --pods 4 --quota 12\n"
    "  vpcrouter lab ping --all\n  vpcrouter lab tour",
)
