"""The node's daemon: gives pods addresses and links, and keeps the node's routes."""

from __future__ import annotations

import logging
import signal
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import click

from cni.addresses import AddressFile
from cni.datapath import Datapath
from cni.follower import Follower, Identity
from cni.host import Host
from cni.install import install_configuration, install_program
from cni.plugin import SOCKET
from cni.pods import Pods
from cni.protocol import Attachment
from cni.reaper import Reaper
from cni.server import Server
from cni.turns import Turns
from ipam.errors import BadInputError, VpcrouterError
from ipam.store.port import Store
from ipam.store.sqlite import SqliteStore

_TICK = 0.2  # seconds between looks at what the follower has found
_WORKERS = 4  # threads that carry out requests: while one waits for the kernel, another computes
_SWITCH = 0.0005  # seconds that a busy thread keeps a request waiting for the interpreter
_FOLDER = click.Path(file_okay=False, path_type=Path)
_FILE = click.Path(dir_okay=False, path_type=Path)

log = logging.getLogger(__name__)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--node", required=True, help="Name of this node in the cluster.")
@click.option("--identity", required=True, help="Its instance id or UID.")
@click.option("--store", required=True, type=_FILE, help="The cluster's store.")
@click.option(
    "--state",
    type=_FOLDER,
    default=Path("/var/lib/vpcrouter"),
    show_default=True,
    help="Folder on this node's disk for the addresses of its pods.",
)
@click.option(
    "--socket", type=_FILE, default=Path(SOCKET), show_default=True, help="Where the plugin calls."
)
@click.option("--uplink", default="", help="Interface towards the VPC router [default: by route].")
@click.option("--cni-bin", type=_FOLDER, help="Put the plugin into this folder.")
@click.option("--cni-conf", type=_FOLDER, help="Put its configuration here once pods can start.")
@click.option("--network", default="vpcrouter", show_default=True, help="Its name there.")
def main(
    node: str,
    identity: str,
    store: Path,
    state: Path,
    socket: Path,
    uplink: str,
    cni_bin: Path | None,
    cni_conf: Path | None,
    network: str,
) -> None:
    """Serve the pods of this node until the process is told to end.

    Pods go on running while no agent does.
    """
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    follower = Follower(_connector(store), Identity(node, identity), uplink)
    try:
        if cni_bin is not None:
            install_program(cni_bin, socket)
        _serve(follower, state, identity, socket, uplink, _announcer(cni_conf, network))
    except VpcrouterError as error:
        click.echo(f"vpcrouter-agent: {error}", err=True)
        sys.exit(2 if isinstance(error, BadInputError) else 5)
    finally:
        follower.stop()


def _connector(store: Path) -> Callable[[], Store]:
    def connect() -> Store:
        return SqliteStore(store)

    return connect


def _announcer(folder: Path | None, network: str) -> Callable[[], None]:
    def announce() -> None:
        if folder is not None:
            install_configuration(folder, network)

    return announce


def _serve(
    follower: Follower,
    state: Path,
    identity: str,
    socket: Path,
    uplink_name: str,
    announce: Callable[[], None],
) -> None:
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    sys.setswitchinterval(_SWITCH)
    with ExitStack() as stack:
        with Host() as host:
            mtu = host.uplink(uplink_name).mtu
        addresses = stack.enter_context(AddressFile(state / "pods.sqlite", identity))
        reaper = Reaper()
        stack.callback(reaper.stop)
        turns: Turns[Attachment] = Turns()
        first, *others = (
            Pods(addresses, stack.enter_context(Datapath(reaper)), turns, mtu)
            for _ in range(1 + _WORKERS)
        )
        server = Server(socket, [pods.answer for pods in others])
        reaper.start()
        first.remove_left_over()
        server.make_good(first.answer)
        stack.enter_context(server)
        follower.start()
        stopped = _stop_on_signals()
        while not stopped():
            if follower.blocks is not None:
                addresses.set_blocks(follower.blocks)
            if addresses.blocks:
                announce()
            server.make_good(first.answer)
            addresses.tidy()
            addresses.sync()
            time.sleep(_TICK)


def _stop_on_signals() -> Callable[[], bool]:
    received: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda signal_number, _frame: received.append(signal_number))
    return lambda: bool(received)
