"""Running short of entries is told while there is time to ask for more."""

from __future__ import annotations

from pathlib import Path

from tests.sites import Site
from tests.test_cluster import NAMES
from tests.vpcs import vpc_document
from vpcrouter.planner import plan
from vpcrouter.usage import running_short


def lines(folder: Path, quota: int) -> tuple[tuple[str, ...], bool]:
    """What is said at a quota, and whether every subnet is served."""
    folder.mkdir()
    document = vpc_document()
    document["Quotas"][0]["Value"] = float(quota)
    snapshot = Site(folder, NAMES, document).cluster().planned().snapshot
    served = not any(table.unserved for table in plan(snapshot, 0.0).tables)
    return running_short(snapshot), served


def test_it_is_told_before_a_subnet_goes_without(tmp_path: Path) -> None:
    told, unserved = [], []
    for quota in range(4, 30):
        said, served = lines(tmp_path / str(quota), quota)
        if said:
            told.append(quota)
        if not served:
            unserved.append(quota)
    assert unserved
    assert set(unserved) < set(told)
    assert max(told) >= max(unserved) + 2
    assert max(told) < 15
    said, _ = lines(tmp_path / "again", max(told))
    assert said[0].startswith("rtb-a: its budget of ")
    assert "raise the quota (L-93826ACB)" in said[0]
