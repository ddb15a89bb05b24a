"""The node's daemon: gives pods addresses and links, and keeps the node's routes."""

from __future__ import annotations

import logging
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import click

from cni.addresses import AddressFile
from cni.caretaker import Caretaker, Meter
from cni.datapath import Datapath
from cni.errors import CniError
from cni.follower import Follower, Identity, Settings
from cni.holdings import Holdings, Registration
from cni.host import Host
from cni.install import install_configuration, install_program
from cni.ipvlan import Ipvlan
from cni.last_known import FILE, LastKnownFile
from cni.options import Options
from cni.plugin import SOCKET
from cni.pods import Pods
from cni.protocol import Attachment, Mode
from cni.reaper import Reaper
from cni.reports import Load
from cni.server import Server
from cni.state import AgentState
from cni.telemetry import Tally, Telemetry
from cni.turns import Turns
from ipam.claims import Claims
from ipam.errors import BadInputError, UnavailableError, VpcrouterError
from ipam.prefix import Prefix
from ipam.store.port import Store
from ipam.store.sqlite import SqliteStore

_TICK = 0.2  # seconds between looks at what is left to do
_AGAIN = 2.0  # seconds until what failed is tried again
_ROUND = 10.0  # seconds between looks after pods
_WORKERS = 4  # threads that carry out requests: while one waits for the kernel, another computes
_BEGINNING = 5.0  # seconds for the node to forward as it did before, at most, before pods start
_SWITCH = 0.0005  # seconds that a busy thread keeps a request waiting for the interpreter
_FOLDER = click.Path(file_okay=False, path_type=Path)
_FILE = click.Path(dir_okay=False, path_type=Path)

log = logging.getLogger(__name__)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--node", required=True, help="Name of this node in the cluster.")
@click.option("--identity", required=True, help="Its instance id or UID.")
@click.option("--store", required=True, type=_FILE, help="The cluster's store.")
@click.option("--subnet", default="", help="Its subnet, where the node is to register itself.")
@click.option("--label", "labels", multiple=True, help="A label of the node, as KEY=VALUE.")
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
@click.option("--metrics", type=_FILE, help="Socket for metrics [default: beside the other].")
@click.option("--uplink", default="", help="Interface towards the VPC router [default: by route].")
@click.option("--cni-bin", type=_FOLDER, help="Put the plugin into this folder.")
@click.option("--cni-conf", type=_FOLDER, help="Put its configuration here once pods can start.")
@click.option("--network", default="vpcrouter", show_default=True, help="Its name there.")
@click.option("--chain", multiple=True, help="A plugin that comes after ours there.")
@click.option(
    "--mode",
    type=click.Choice([mode.value for mode in Mode]),
    default=Mode.VETH.value,
    show_default=True,
    help="How pods are linked, as that configuration says.",
)
@click.option(
    "--keep-source",
    multiple=True,
    help="A range outside of the networks to which pods keep their address.",
)
@click.option("--masquerade/--no-masquerade", default=True, show_default=True)
@click.option("--routes-only", is_flag=True, help="Keep routes alone, under another CNI plugin.")
def main(
    node: str,
    identity: str,
    store: Path,
    subnet: str,
    labels: Sequence[str],
    state: Path,
    socket: Path,
    metrics: Path | None,
    uplink: str,
    cni_bin: Path | None,
    cni_conf: Path | None,
    network: str,
    chain: Sequence[str],
    mode: str,
    keep_source: Sequence[str],
    masquerade: bool,
    routes_only: bool,
) -> None:
    """Serve the pods of this node until the process is told to end.

    Pods go on running while no agent does.
    """
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    try:
        kept = tuple(map(Prefix.parse, keep_source)) if masquerade and not routes_only else None
        options = Options(
            who=Identity(node, identity),
            registration=Registration(subnet, dict(map(_label, labels))),
            state=state,
            socket=socket,
            metrics=metrics or socket.with_name("metrics.sock"),
            settings=Settings(uplink, kept),
            cni_bin=cni_bin,
            cni_conf=cni_conf,
            network=network,
            chain=tuple(chain),
            mode=Mode(mode),
        )
        sys.setswitchinterval(_SWITCH)
        if routes_only:
            _keep_routes(options, _connector(store))
        else:
            _serve(options, _connector(store))
    except VpcrouterError as error:
        click.echo(f"vpcrouter-agent: {error}", err=True)
        sys.exit(2 if isinstance(error, BadInputError) else 5)


def _label(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise BadInputError(f"label {text!r}: write it as KEY=VALUE")
    return key, value


def _connector(store: Path) -> Callable[[], Store]:
    def connect() -> Store:
        return SqliteStore(store)

    return connect


def _keep_routes(options: Options, connect: Callable[[], Store]) -> None:
    """What a node does that another CNI plugin gives pods to."""

    def measure(_: Sequence[Prefix]) -> dict[Prefix, Load]:
        return {}

    _make_folder(options.state)
    follower = Follower(connect, None, measure, options.who, options.settings, _last_known(options))
    state = AgentState(None, follower.standing, Tally())
    with ExitStack() as stack:
        stack.enter_context(Telemetry(options.metrics, state.metrics, state.health))
        stack.callback(follower.stop)
        follower.start()
        stopped = _stop_on_signals()
        while not stopped():
            time.sleep(_TICK)


def _serve(options: Options, connect: Callable[[], Store]) -> None:
    _make_folder(options.state)
    with Host() as host:
        uplink = host.uplink(options.settings.uplink)
    if options.mode is Mode.IPVLAN:
        _prepare_ipvlan(uplink.name)
    tally = Tally()
    with ExitStack() as stack:
        disk = options.state / "pods.sqlite"
        addresses = stack.enter_context(AddressFile(disk, options.who.identity))
        reaper = Reaper()
        stack.callback(reaper.stop)
        turns: Turns[Attachment] = Turns()
        paths = [stack.enter_context(Datapath(reaper)) for _ in range(1 + _WORKERS)]
        shared = [stack.enter_context(Ipvlan(uplink.name)) for _ in paths]
        first, *others = (
            Pods(addresses, path, ipvlan, turns, uplink.mtu)
            for path, ipvlan in zip(paths, shared, strict=True)
        )
        server = Server(options.socket, [tally.counting(pods.answer) for pods in others])
        reaper.remove_all()
        first.remove_left_over()
        reaper.start()
        server.make_good(first.answer)
        follower = _follower(options, connect, addresses)
        state = AgentState(addresses, follower.standing, tally)
        stack.enter_context(Telemetry(options.metrics, state.metrics, state.health))
        caretaker = Caretaker(addresses, first, paths[0])
        caretaker.avoid_host()
        stack.callback(follower.stop)
        follower.start()
        follower.begun.wait(_BEGINNING)
        stack.enter_context(server)
        if options.cni_bin is not None:
            install_program(options.cni_bin, options.socket)
        _tend(options, addresses, server, first, caretaker)


def _prepare_ipvlan(uplink: str) -> None:
    """Raises BadInputError where pods of that mode cannot be."""
    with Ipvlan(uplink) as ipvlan:
        try:
            ipvlan.prepare()
        except CniError as error:
            raise BadInputError(str(error)) from error


def _follower(options: Options, connect: Callable[[], Store], addresses: AddressFile) -> Follower:
    def hold(store: Store) -> Holdings:
        claims = Claims(store, options.who.node, options.who.identity)
        return Holdings(claims, addresses, options.registration)

    measure = Meter(addresses).read
    return Follower(connect, hold, measure, options.who, options.settings, _last_known(options))


def _last_known(options: Options) -> LastKnownFile:
    return LastKnownFile(options.state / FILE, options.who.node, options.who.identity)


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise UnavailableError(
            f"folder {path} cannot be made ({error.strerror}): name another with --state"
        ) from error


def _tend(
    options: Options, addresses: AddressFile, server: Server, pods: Pods, caretaker: Caretaker
) -> None:
    """What there is to do besides requests, until the process is told to end."""
    stopped = _stop_on_signals()
    looked = time.monotonic()
    while not stopped():
        try:
            if addresses.blocks and options.cni_conf is not None:
                install_configuration(
                    options.cni_conf, options.network, options.chain, options.mode
                )
            server.make_good(pods.answer)
            addresses.tidy()
            addresses.sync()
            if time.monotonic() >= looked + _ROUND:
                looked = time.monotonic()
                caretaker.look()
        except (VpcrouterError, OSError) as error:
            log.warning("%s", error)
            time.sleep(_AGAIN)
        time.sleep(_TICK)


def _stop_on_signals() -> Callable[[], bool]:
    received: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda signal_number, _frame: received.append(signal_number))
    return lambda: bool(received)
