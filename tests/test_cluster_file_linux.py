"""The cluster file of a router that runs Linux."""

from __future__ import annotations

from pathlib import Path

import pytest

from ipam.errors import BadInputError
from ipam.prefix import Prefix
from vpcrouter.config import LinuxSource, load_cluster
from vpcrouter.fabric.linux.settings import RouterSettings, RouterSubnet

TEXT = """\
version: 1
cluster: lab
networks: [{name: pods, cidrs: [100.64.0.0/10]}]
fabric:
  kind: linux
  namespace: ns/router
  quota: 12
  local: [10.0.0.0/8]
  subnets:
    - {id: rack-1, interface: br-1, table: 101}
    - {id: rack-2, interface: br-2, table: 102, zone: north}
nodes: {kubernetes: nodes.json}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "cluster.yaml"
    path.write_text(text)
    return path


def test_subnets_name_interface_and_table(tmp_path: Path) -> None:
    fabric = load_cluster(write(tmp_path, TEXT)).fabric
    assert fabric.source == LinuxSource(
        RouterSettings(
            name="lab",
            namespace=str(tmp_path / "ns" / "router"),
            subnets=(
                RouterSubnet("rack-1", "rack-1", "br-1", "101", 101),
                RouterSubnet("rack-2", "north", "br-2", "102", 102),
            ),
            limit=12,
            local=(Prefix.parse("10.0.0.0/8"),),
        )
    )
    assert (fabric.quota, fabric.reserve) == (12, 2)


def test_the_machines_own_namespace_is_the_default(tmp_path: Path) -> None:
    text = TEXT.replace("  namespace: ns/router\n", "").replace("  local: [10.0.0.0/8]\n", "")
    source = load_cluster(write(tmp_path, text)).fabric.source
    assert isinstance(source, LinuxSource)
    assert (source.router.namespace, source.router.local) == (None, ())


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("  quota: 12\n", "", r"fabric\.quota: is missing"),
        ("table: 102", "table: 254", r":11: fabric\.subnets\[1\]\.table: .* the kernel's own"),
        ("table: 102", "table: -1", r":11: fabric\.subnets\[1\]\.table: should be greater"),
        ("br-2", "br-1", r":11: fabric\.subnets\[1\]\.interface: two subnets have .* br-1"),
        ("rack-2", "rack-1", r":11: fabric\.subnets\[1\]\.id: two subnets have the id rack-1"),
        ("br-2", "a-very-long-interface", r":11: .*interface: an interface has a name like br-a"),
        ("10.0.0.0/8", "10.0.0.1/8", r":8: fabric\.local\[0\]: .* host bits"),
        ("zone:", "zones:", r"fabric\.subnets\[1\]\.zones: unknown field: did you mean zone\?"),
        ("namespace:", "namespaces:", r":6: .*unknown field: did you mean namespace\?"),
    ],
)
def test_errors_name_the_field(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        load_cluster(write(tmp_path, TEXT.replace(old, new)))


def test_who_else_sends_in_a_segment_is_not_known(tmp_path: Path) -> None:
    text = TEXT + "planning: {own_subnet_weight: auto}\n"
    with pytest.raises(BadInputError, match=r"own_subnet_weight: auto needs a cloud .* a number"):
        load_cluster(write(tmp_path, text))
