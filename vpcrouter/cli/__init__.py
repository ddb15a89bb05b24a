"""The command line: wires everything together and decides nothing itself.

``main`` is what the ``vpcrouter`` script calls. Modules here import what a command needs when it
runs, so that every command starts fast and asks for no library that it does not use.
"""

from __future__ import annotations


def main() -> None:
    """Run the command that the process was called with and end with its exit code."""
    from vpcrouter.cli.process import run_process

    run_process()
