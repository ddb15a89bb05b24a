"""``vpcrouter blocks reclaim``: take blocks back from all nodes that are gone for certain."""

from __future__ import annotations

from vpcrouter.cli.exits import ExitCode
from vpcrouter.cli.formats import Output
from vpcrouter.cli.options import cluster_option, documented, output_option
from vpcrouter.cli.output import complain, counted, few, write
from vpcrouter.cli.release import carry_out, guard_options
from vpcrouter.cli.source import opened
from vpcrouter.reclaiming import whole

_EXAMPLES = """
vpcrouter blocks reclaim -f cluster.yaml
vpcrouter blocks reclaim -f cluster.yaml --yes -o json      # for scripts
"""


@documented("Take blocks back from all nodes that are gone for certain.", _EXAMPLES)
@cluster_option
@output_option
@guard_options
def command(cluster_file: str | None, output: Output, most: int | None, yes: bool) -> ExitCode:
    """Take back all that nodes own whose end the cloud confirms, and list them first.

    'vpcrouter apply' does the same before it changes tables. Nodes that are only missing keep
    their blocks, however long they are: name them to 'vpcrouter blocks release'.
    """
    with opened(cluster_file) as cluster:
        judged = cluster.judged()
        gone = [one for one in judged if one.gone and not one.alive]
        missing = [str(one) for one in judged if not one.gone and not one.alive]
        if missing:
            complain(
                f"{counted(len(missing), 'node')} neither there nor gone for certain, left alone: "
                f"{few(missing)}"
            )
        doubtful = [
            f"{one} ({one.gone}, but {one.alive})" for one in judged if one.gone and one.alive
        ]
        if doubtful:
            complain(f"left alone, since reports contradict each other: {few(doubtful)}")
        if gone:
            return carry_out(cluster, whole(gone), len(judged), output, most, yes)
    if output.is_document:
        write(output.text({"released": []}))
    else:
        write("nothing to reclaim\n")
    return ExitCode.DONE
