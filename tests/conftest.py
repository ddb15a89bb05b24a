"""What every test may rely on: seeds, data, privileges, and that nothing is left out quietly."""

from __future__ import annotations

import os
import secrets
from collections.abc import Generator, Iterable
from pathlib import Path

import hypothesis
import pytest
from hypothesis import HealthCheck, is_hypothesis_test

from tests import counts

FIXED_SEEDS = (1, 2)
NO_DATA = "no test data"
LEFT_TO_PROVE = "tests marked `prove` are left to `make prove`"
IN_CI = os.environ.get("CI") == "true"
DATA = Path(os.environ.get("VPCROUTER_DATA", Path(__file__).parents[2] / "shared" / "data"))

# In the environment, where the workers of xdist find the seed of the whole run.
SEED = int(os.environ.setdefault("VPCROUTER_SEED", str(secrets.randbelow(1_000_000))))

# No deadline: the machine is shared. No database: a run depends on its seeds and on nothing else.
for profile, max_examples in (("test", 100), ("prove", 1_000)):
    hypothesis.settings.register_profile(
        profile,
        max_examples=max_examples,
        deadline=None,
        database=None,
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow],
    )
hypothesis.settings.load_profile(counts.PROFILE)


# Seeds: every property and every test with an argument `seed` runs with fixed seeds and once with
# the random one of this run, which the header names. State machines, which pytest cannot run
# twice, take the random one.


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    config.option.hypothesis_seed = SEED
    config.addinivalue_line("markers", "prove: takes a minute or more; for `make prove` alone")


def pytest_report_header() -> str:
    seeds = f"random seed {SEED}: repeat with `make {counts.PROFILE} SEED={SEED}`"
    return seeds if counts.PROFILE == "prove" else f"{seeds}\n{LEFT_TO_PROVE}"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if counts.PROFILE == "prove":
        return
    late = [item for item in items if item.get_closest_marker("prove")]
    if late:
        config.hook.pytest_deselected(items=late)
        items[:] = [item for item in items if item not in late]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seed" in metafunc.fixturenames:
        names = [*map(str, FIXED_SEEDS), "random"]
        metafunc.parametrize("seed", (*FIXED_SEEDS, SEED), ids=names)
    if is_hypothesis_test(metafunc.function):
        metafunc.parametrize("_drawn_from", (0, SEED), ids=("fixed", "random"), indirect=True)


@pytest.fixture(autouse=True)
def _drawn_from(request: pytest.FixtureRequest) -> None:
    """Seeds a property: hypothesis reads the seed when the test is called."""
    seed: int | None = getattr(request, "param", None)
    if seed is not None:
        hypothesis.seed(seed)(request.function)


# What a test needs and may not find.


@pytest.fixture(scope="session")
def openb() -> Path:
    """The folder of the openb cluster: `nodes.json` and `aws.json`."""
    folder = DATA / "openb"
    if not folder.is_dir():
        pytest.skip(f"{NO_DATA}: {folder} is missing (VPCROUTER_DATA names its parent)")
    return folder


@pytest.fixture(scope="session")
def root() -> None:
    """For tests that mount or make namespaces."""
    if os.geteuid() != 0:
        pytest.skip("needs root: run it with sudo")


# Nothing is left out quietly: a skip is listed at the end with its reason, and fails where CI is
# true (but for absent test data, which a clone does not bring along).


def _refuse_in_ci(report: pytest.TestReport | pytest.CollectReport) -> None:
    reason = _reason(report)
    if IN_CI and reason is not None and not reason.startswith(NO_DATA):
        report.outcome = "failed"
        report.longrepr = f"left out, which CI=true does not allow: {reason}"


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str | None:
    """Why this was skipped; None if it was not (an expected failure is not left out)."""
    if not report.skipped or hasattr(report, "wasxfail"):
        return None
    place_and_reason = report.longrepr
    text = place_and_reason[2] if isinstance(place_and_reason, tuple) else str(place_and_reason)
    return text.removeprefix("Skipped: ")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _refuse_in_ci(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _refuse_in_ci(report)
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    left_out: dict[str, list[str]] = {}
    for report in _skipped(terminalreporter.stats.get("skipped", ())):
        left_out.setdefault(_reason(report) or "no reason given", []).append(report.nodeid)
    if not left_out:
        return
    terminalreporter.section("left out")
    for reason, tests in sorted(left_out.items()):
        terminalreporter.line(f"{len(tests)} because: {reason}")
        for test in tests:
            terminalreporter.line(f"    {test}")


def _skipped(reports: Iterable[object]) -> Iterable[pytest.TestReport | pytest.CollectReport]:
    kinds = (pytest.TestReport, pytest.CollectReport)
    return (report for report in reports if isinstance(report, kinds))
