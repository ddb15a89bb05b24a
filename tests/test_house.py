"""The house keeps its order: imports go in allowed directions, dependencies are locked."""

from __future__ import annotations

import ast
import configparser
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

HOUSE = Path(__file__).parents[1]
PACKAGES = ("ipam", "vpcrouter", "cni")

# What reads, writes, waits or wires together; everything else decides, and is declared pure.
AT_THE_EDGE = {
    *("cni.addresses", "cni.agent", "cni.caretaker", "cni.datapath", "cni.disk", "cni.feed"),
    *("cni.firewall", "cni.follower", "cni.holdings", "cni.host", "cni.options", "cni.state"),
    *("cni.inspection", "cni.install", "cni.ipvlan", "cni.kernel", "cni.namespaces", "cni.offline"),
    *("cni.plugin", "cni.pods", "cni.reaper", "cni.server", "cni.telemetry"),
    *("cni.last_known", "cni.notices", "cni.turns"),
    *(
        "ipam.allocator",
        "ipam.archive",
        "ipam.claims",
        "ipam.ledger",
        "ipam.service",
        "ipam.store",
        "ipam.writes",
    ),
    *("vpcrouter.cli", "vpcrouter.cluster", "vpcrouter.config", "vpcrouter.demo"),
    *("vpcrouter.example", "vpcrouter.fabric", "vpcrouter.inventory", "vpcrouter.jsonfile"),
    *("vpcrouter.keeping", "vpcrouter.measuring"),
    "vpcrouter.lab",
    *("vpcrouter.network_fields", "vpcrouter.positioned", "vpcrouter.reconcile"),
    *("vpcrouter.sampling", "vpcrouter.service", "vpcrouter.simulate", "vpcrouter.textfile"),
}


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    """Checks the contracts of setup.cfg on the packages that lie in this folder."""
    command = (Path(sys.executable).with_name("lint-imports"), "--no-cache", "--no-logo")
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture
def copy_of_the_house(tmp_path: Path) -> Path:
    shutil.copy(HOUSE / "setup.cfg", tmp_path)
    for package in PACKAGES:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(HOUSE / package, tmp_path / package, ignore=ignored)
    return tmp_path


def test_every_import_goes_in_an_allowed_direction() -> None:
    result = lint_imports(HOUSE)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("ipam/errors.py", "import vpcrouter.model", "ipam imports neither vpcrouter nor cni"),
        ("ipam/errors.py", "import cni", "ipam imports neither vpcrouter nor cni"),
        ("cni/__init__.py", "import vpcrouter.model", "cni never imports vpcrouter"),
        ("vpcrouter/model.py", "import cni", "vpcrouter imports cni only where"),
        ("vpcrouter/model.py", "import time", "what decides has no clock"),
        ("ipam/prefix.py", "from random import random", "what decides has no clock"),
        ("vpcrouter/model.py", "import numpy", "only planning computes with numpy"),
        ("vpcrouter/cluster.py", "import boto3", "only the AWS fabric knows the SDK"),
        ("ipam/space.py", "import ipam.model", "ipam is built in layers"),
        ("vpcrouter/model.py", "import vpcrouter.traffic", "vpcrouter is built in layers"),
    ],
)
def test_an_import_in_a_forbidden_direction_is_found(
    copy_of_the_house: Path, module: str, line: str, contract: str
) -> None:
    file = copy_of_the_house / module
    file.write_text(file.read_text() + f"\n{line}\n")
    result = lint_imports(copy_of_the_house)
    assert result.returncode == 1
    assert re.search(re.escape(contract) + ".* BROKEN", result.stdout)


def test_every_module_is_declared_pure_or_acts_at_the_edge() -> None:
    pure = set(setup_cfg()["importlinter:contract:pure"]["source_modules"].split())
    files = [file for package in PACKAGES for file in (HOUSE / package).iterdir()]
    modules = {f"{f.parent.name}.{f.stem}" for f in files if not f.stem.startswith("__")}
    assert modules - pure == AT_THE_EDGE


def setup_cfg() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(HOUSE / "setup.cfg")
    return parser


def normalized(distribution: str) -> str:
    """The name by which package indexes compare (PEP 503)."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def required(lines: str) -> set[str]:
    """The names in a list of requirements, without their versions."""
    return {normalized(re.split(r"[<>=!~\[;]", line)[0]) for line in lines.split()}


def imported(package: str) -> Iterator[str]:
    """The top-level names that a package's modules import."""
    for file in (HOUSE / package).rglob("*.py"):
        for statement in ast.walk(ast.parse(file.read_text())):
            match statement:
                case ast.Import(names=names):
                    yield from (alias.name.partition(".")[0] for alias in names)
                case ast.ImportFrom(module=str(module), level=0):
                    yield module.partition(".")[0]


def test_exactly_the_libraries_that_are_imported_are_declared() -> None:
    distributions = packages_distributions()
    foreign = {name for package in PACKAGES for name in imported(package)}
    foreign -= {*sys.stdlib_module_names, *PACKAGES}
    used = {normalized(distributions[name][0]) for name in foreign}
    assert required(setup_cfg()["options"]["install_requires"]) == used


def test_everything_declared_is_locked_by_hash() -> None:
    lines = (HOUSE / "requirements.lock").read_text().replace("\\\n", " ").splitlines()
    pins = [line.split() for line in lines if re.match(r"\w", line)]
    assert all(
        hashes and all(h.startswith("--hash=sha256:") for h in hashes) for _, *hashes in pins
    )
    declared = setup_cfg()["options"]["install_requires"]
    tools = setup_cfg()["options.extras_require"]["dev"]
    assert required(declared) | required(tools) <= {
        normalized(pin.split("==")[0]) for pin, *_ in pins
    }


def test_the_lock_names_no_place_to_download_from() -> None:
    lock = (HOUSE / "requirements.lock").read_text()
    assert not re.search(r"://|--(extra-)?index-url|--find-links|--trusted-host|\s@\s", lock)
