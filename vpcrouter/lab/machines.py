"""The nodes of a lab: namespaces with real agents, started, killed and started anew."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from cni.errors import Code
from cni.plugin import TYPE
from ipam.errors import UnavailableError
from vpcrouter.lab import network, processes, spaces
from vpcrouter.lab.layout import Machine, Pod
from vpcrouter.lab.record import TOKEN, Record

NETWORK = "pods"

_PATIENCE = 60.0  # seconds for an agent to serve, on a machine that starts many at once
_CALL = 60.0  # seconds for one request


def create(record: Record, machine: Machine) -> None:
    """Make the node and its pods' namespaces, all new, and connect it. No agent runs yet."""
    folder = record.node(machine)
    folder.mkdir(parents=True, exist_ok=True)
    spaces.make(record.space(machine.name))
    for pod in record.layout.pods_of(machine):
        spaces.make(record.space(pod.name))
    network.connect(record, machine)


def destroy(record: Record, machine: Machine) -> None:
    """Turn the node off: its agent, its links and its pods are gone, its disk is left."""
    kill_agent(record, machine)
    network.disconnect(record, machine)
    for pod in record.layout.pods_of(machine):
        spaces.remove(record.space(pod.name))
    spaces.remove(record.space(machine.name))


def note_restart(record: Record, machine: Machine) -> None:
    """Let the node's disk be from an earlier start of the machine, which it is.

    The kernel under the lab goes on, so the agent could not tell.
    """
    disk = record.node(machine) / "state" / "pods.sqlite"
    if disk.exists():
        with closing(sqlite3.connect(disk)) as database:
            database.execute("UPDATE node SET boot = 'before'")
            database.commit()


def start_agent(record: Record, machine: Machine) -> None:
    """Start its agent, unless it runs; does not wait for it."""
    folder = record.node(machine)
    pid_file = folder / "agent.pid"
    if processes.running(record.token, pid_file) is not None:
        return
    command = [
        *("nsenter", f"--net={record.space(machine.name)}", sys.executable, "-m", "cni"),
        *("--node", machine.name, "--identity", machine.uid, "--store", str(record.store)),
        *("--state", str(folder / "state"), "--socket", str(folder / "run" / "agent.sock")),
        *("--cni-bin", str(folder / "bin"), "--cni-conf", str(folder / "conf")),
        *("--network", NETWORK),
    ]
    processes.start(command, record.token, folder / "log", pid_file)


def agent_runs(record: Record, machine: Machine) -> bool:
    """Whether its agent is there."""
    return processes.running(record.token, record.node(machine) / "agent.pid") is not None


def kill_agent(record: Record, machine: Machine) -> None:
    """Kill its agent at once; nothing if there is none."""
    pid = processes.running(record.token, record.node(machine) / "agent.pid")
    if pid is not None:
        processes.stop(pid, record.token)


def wait_until_serving(record: Record, machine: Machine) -> None:
    """Return once pods can be started there. Raises UnavailableError where that takes too long."""
    deadline = time.monotonic() + _PATIENCE
    configuration = record.node(machine) / "conf"
    while True:
        if any(configuration.glob("*.conflist")):
            status, answer = call(record, machine, "STATUS")
            if status == 0:
                return
        else:
            answer = {"msg": "its agent has not written the CNI configuration"}
        log = record.node(machine) / "log"
        if not agent_runs(record, machine):
            raise UnavailableError(
                f"the agent of node {machine.name} has ended ({_last_line(log)}): see {log}"
            )
        if time.monotonic() > deadline:
            reason = answer.get("msg")
            raise UnavailableError(f"node {machine.name} takes no pods ({reason}): see {log}")
        time.sleep(0.05)


def start_pod(record: Record, pod: Pod) -> None:
    """Start a pod in its namespace, and note its addresses.

    Tries again while its node has no address left. Raises UnavailableError.
    """
    deadline = time.monotonic() + _PATIENCE
    while True:
        status, answer = call(record, pod.machine, "ADD", pod)
        if status == 0:
            break
        if answer.get("code") != Code.TRY_LATER or time.monotonic() > deadline:
            raise UnavailableError(f"pod {pod.name} cannot be started: {answer.get('msg')}")
        time.sleep(0.2)
    ips = answer["ips"]
    assert isinstance(ips, list)  # noqa: S101 - the specification says so
    addresses = [item["address"].partition("/")[0] for item in ips]
    _address_file(record, pod).write_text("\n".join(addresses), encoding="ascii")


def stop_pod(record: Record, pod: Pod) -> None:
    """Stop a pod; its namespace stays. Nothing if it does not run. Raises UnavailableError."""
    _address_file(record, pod).unlink(missing_ok=True)
    status, answer = call(record, pod.machine, "DEL", pod)
    if status:
        raise UnavailableError(f"pod {pod.name} cannot be stopped: {answer.get('msg')}")


def addresses(record: Record, pod: Pod) -> tuple[str, ...]:
    """The addresses of a pod that was started; none where it was not."""
    try:
        return tuple(_address_file(record, pod).read_text(encoding="ascii").split())
    except FileNotFoundError:
        return ()


def forget_pods(record: Record, machine: Machine) -> None:
    """The pods of a node are gone with it."""
    shutil.rmtree(record.node(machine) / "pods", ignore_errors=True)


def call(
    record: Record, machine: Machine, command: str, pod: Pod | None = None
) -> tuple[int, dict[str, object]]:
    """Call the plugin as a container runtime does; exit status and what it printed.

    Raises UnavailableError where it cannot be run or says nothing that a runtime understands.
    """
    program = record.node(machine) / "bin" / TYPE
    try:
        done = subprocess.run(  # noqa: S603 - a program of our own making
            [program],
            input=json.dumps({"cniVersion": "1.1.0", "name": NETWORK, "type": TYPE}).encode(),
            env=_environment(record, program.parent, command, pod),
            capture_output=True,
            check=False,
            timeout=_CALL,
        )
        return done.returncode, json.loads(done.stdout) if done.stdout else {}
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise UnavailableError(f"{program} {command} fails: {error}") from error


def _environment(record: Record, folder: Path, command: str, pod: Pod | None) -> Mapping[str, str]:
    variables = {"CNI_COMMAND": command, "CNI_PATH": str(folder), TOKEN: record.token}
    if pod is not None:
        variables |= {
            "CNI_CONTAINERID": pod.name,
            "CNI_IFNAME": "eth0",
            "CNI_NETNS": str(record.space(pod.name)),
        }
    return variables


def _last_line(log: Path) -> str:
    try:
        return log.read_text(encoding="utf-8", errors="replace").rstrip().rpartition("\n")[2]
    except OSError:
        return "it has said nothing"


def _address_file(record: Record, pod: Pod) -> Path:
    folder = record.node(pod.machine) / "pods"
    folder.mkdir(exist_ok=True)
    return folder / pod.name
