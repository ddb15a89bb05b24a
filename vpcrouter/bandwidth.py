"""Baseline network bandwidth by EC2 instance type, in Mbit/s: what a node can carry all day.

Source: the tables of network specifications in AWS's documentation of instance types
(https://docs.aws.amazon.com/ec2/latest/instancetypes/, general purpose, compute, memory, storage,
accelerated), as Karpenter collects them (zz_generated.bandwidth.go, 9c68c87f). Where AWS says
"up to", the baseline counts and not the burst. Types that are not listed here have no published
figure, a vague one, or are rare.
"""

from __future__ import annotations

from collections.abc import Mapping

# Families that share a row have the same bandwidth in all sizes listed in it.
_ROWS = """
t3 t3a t4g: nano 32, micro 64, small 128, medium 256, large 512, xlarge 1024, 2xlarge 2048
a1: medium 500, large 750, xlarge 1250, 2xlarge 2500, 4xlarge 5000, metal 5000
m5 m5d r5 r5d: large 750, xlarge 1250, 2xlarge 2500, 4xlarge 5000, 8xlarge 10000, 12xlarge 12000, \
16xlarge 20000, 24xlarge 25000, metal 25000
r5b: large 750, xlarge 1250, 2xlarge 2500, 4xlarge 5000, 8xlarge 10000, 12xlarge 12000, \
16xlarge 20000, 24xlarge 25000, metal 25000
m5a m5ad r5a r5ad: large 750, xlarge 1250, 2xlarge 2500, 4xlarge 5000, 8xlarge 7500, \
12xlarge 10000, 16xlarge 12000, 24xlarge 20000
m5n m5dn r5n r5dn: large 2100, xlarge 4100, 2xlarge 8125, 4xlarge 16250, 8xlarge 25000, \
12xlarge 50000, 16xlarge 75000, 24xlarge 100000, metal 100000
m5zn: large 3000, xlarge 5000, 2xlarge 10000, 3xlarge 15000, 6xlarge 50000, 12xlarge 100000, \
metal 100000
z1d: large 750, xlarge 1250, 2xlarge 2500, 3xlarge 5000, 6xlarge 12000, 12xlarge 25000, metal 25000
c5 c5d: large 750, xlarge 1250, 2xlarge 2500, 4xlarge 5000, 9xlarge 12000, 12xlarge 12000, \
18xlarge 25000, 24xlarge 25000, metal 25000
c5a c5ad: large 750, xlarge 1250, 2xlarge 2500, 4xlarge 5000, 8xlarge 10000, 12xlarge 12000, \
16xlarge 20000, 24xlarge 20000
c5n: large 3000, xlarge 5000, 2xlarge 10000, 4xlarge 15000, 9xlarge 50000, 18xlarge 100000, \
metal 100000
m6g m6gd c6g c6gd r6g r6gd x2gd: medium 500, large 750, xlarge 1250, 2xlarge 2500, 4xlarge 5000, \
8xlarge 12000, 12xlarge 20000, 16xlarge 25000, metal 25000
c6gn: medium 1600, large 3000, xlarge 6300, 2xlarge 12500, 4xlarge 25000, 8xlarge 50000, \
12xlarge 75000, 16xlarge 100000
m6i m6id c6i c6id r6i r6id: large 781, xlarge 1562, 2xlarge 3125, 4xlarge 6250, 8xlarge 12500, \
12xlarge 18750, 16xlarge 25000, 24xlarge 37500, 32xlarge 50000, metal 50000
m6a c6a r6a: large 781, xlarge 1562, 2xlarge 3125, 4xlarge 6250, 8xlarge 12500, 12xlarge 18750, \
16xlarge 25000, 24xlarge 37500, 32xlarge 50000, 48xlarge 50000, metal 50000
m6in m6idn r6in r6idn c6in: large 3125, xlarge 6250, 2xlarge 12500, 4xlarge 25000, 8xlarge 50000, \
12xlarge 75000, 16xlarge 100000
m7g m7gd c7g c7gd r7g r7gd: medium 520, large 937, xlarge 1876, 2xlarge 3750, 4xlarge 7500, \
8xlarge 15000, 12xlarge 22500, 16xlarge 30000, metal 30000
c7gn: medium 3125, large 6250, xlarge 12500, 2xlarge 25000, 4xlarge 50000, 8xlarge 100000
c8gn: medium 3125, large 6250, xlarge 12500, 2xlarge 25000, 4xlarge 50000, 8xlarge 100000
m7i c7i r7i: large 781, xlarge 1562, 2xlarge 3125, 4xlarge 6250, 8xlarge 12500, 12xlarge 18750, \
16xlarge 25000, 24xlarge 37500, 48xlarge 50000, metal-24xl 37500, metal-48xl 50000
m7i-flex c7i-flex: large 390, xlarge 781, 2xlarge 1562, 4xlarge 3125, 8xlarge 6250, \
12xlarge 9375, 16xlarge 12500
m7a c7a r7a: medium 390, large 781, xlarge 1562, 2xlarge 3125, 4xlarge 6250, 8xlarge 12500, \
12xlarge 18750, 16xlarge 25000, 24xlarge 37500, 32xlarge 50000, 48xlarge 50000, metal-48xl 50000
r7iz: large 781, xlarge 1562, 2xlarge 3125, 4xlarge 6250, 8xlarge 12500, 12xlarge 25000, \
16xlarge 25000, 32xlarge 50000, metal-16xl 25000, metal-32xl 50000
m8g m8gd c8g c8gd r8g r8gd x8g: medium 520, large 937, xlarge 1875, 2xlarge 3750, 4xlarge 7500, \
8xlarge 15000, 12xlarge 22500, 16xlarge 30000, 24xlarge 40000, 48xlarge 50000, metal-24xl 40000, \
metal-48xl 50000
r8i: large 937, xlarge 1875, 2xlarge 3750, 4xlarge 7500, 8xlarge 15000, 12xlarge 22500, \
16xlarge 30000, 24xlarge 40000, 32xlarge 50000, 48xlarge 75000, 96xlarge 100000, \
metal-48xl 75000, metal-96xl 100000
r4: large 750, xlarge 1250, 2xlarge 2500, 4xlarge 5000, 8xlarge 10000, 16xlarge 25000
m4: 10xlarge 10000, 16xlarge 25000
i3: large 750, xlarge 1250, 2xlarge 2500, 4xlarge 5000, 8xlarge 10000, 16xlarge 25000, metal 25000
i3en: large 2100, xlarge 4200, 2xlarge 8400, 3xlarge 12500, 6xlarge 25000, 12xlarge 50000, \
24xlarge 100000, metal 100000
i4i: large 781, xlarge 1875, 2xlarge 4687, 4xlarge 9375, 8xlarge 18750, 12xlarge 28120, \
16xlarge 37500, 24xlarge 56250, 32xlarge 75000, metal 75000
i4g: large 781, xlarge 1875, 2xlarge 4687, 4xlarge 9375, 8xlarge 18750, 16xlarge 37500
g4dn: xlarge 5000, 2xlarge 10000, 4xlarge 20000, 8xlarge 50000, 12xlarge 50000, 16xlarge 50000, \
metal 100000
g5: xlarge 2500, 2xlarge 5000, 4xlarge 10000, 8xlarge 25000, 12xlarge 40000, 16xlarge 25000, \
24xlarge 50000, 48xlarge 100000
g6: xlarge 2500, 2xlarge 5000, 4xlarge 10000, 8xlarge 25000, 12xlarge 40000, 16xlarge 25000, \
24xlarge 50000, 48xlarge 100000
p3: 2xlarge 2500, 8xlarge 10000, 16xlarge 25000
p3dn: 24xlarge 100000
inf2: xlarge 2083, 8xlarge 16667, 24xlarge 50000, 48xlarge 100000
x1: 16xlarge 10000, 32xlarge 25000
x2iedn: xlarge 1875, 2xlarge 5000, 4xlarge 12500, 8xlarge 25000, 16xlarge 50000, 24xlarge 75000
"""


def _table() -> dict[str, int]:
    found: dict[str, int] = {}
    for row in _ROWS.strip().splitlines():
        families, _, sizes = row.partition(": ")
        for family in families.split():
            for cell in sizes.split(", "):
                size, _, megabits = cell.partition(" ")
                found[f"{family}.{size}"] = int(megabits)
    return found


BASELINE_MEGABITS: Mapping[str, int] = _table()
