"""Many callers at once, for the same pods and for others: no address twice, nothing is left."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from cni.errors import Code
from cni.plugin import TYPE
from ipam.model import Claim
from tests.cni_nodes import Node, addresses_of, admit, give_uplink, grow, need_nft, running
from tests.cni_spaces import light_namespaces
from tests.counts import examples
from tests.namespaces import Namespace, eventually, namespaces

pytestmark = pytest.mark.usefixtures("root")

CALLERS, PODS = 8, 6
EXPECTED = {0, 3, 11, 101, 102}
"""Done; or as it must be where another caller was faster."""


@pytest.fixture(scope="module")
def node(root: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:  # noqa: ARG001
    need_nft()
    folder = tmp_path_factory.mktemp("parallel")
    admit(folder / "store", [Claim("node-1", "subnet-1", "i-node-1")])
    grow(folder / "store", "node-1", 3)
    with namespaces(1) as (space,):
        give_uplink(space)
        with running(Node("node-1", space, folder, folder / "store")) as made:
            yield made


def links(space: Namespace) -> set[str]:
    with space.kernel() as kernel:
        return {link.get("ifname") for link in kernel.get_links()}


def starts(call: Callable[[tuple[str, int]], int], pod: int) -> bool:
    return call(("ADD", pod)) == 0


def test_callers_that_get_into_each_others_way(node: Node, seed: int) -> None:
    with light_namespaces(PODS) as spaces:
        orders = random.Random(seed)
        work = [
            (orders.choice(("ADD", "ADD", "DEL", "CHECK")), orders.randrange(PODS))
            for _ in range(examples(test=150, prove=5_000))
        ]
        results: dict[int, dict[str, object]] = {}

        def call(order: tuple[str, int]) -> int:
            command, pod = order
            fields: dict[str, object] = {"cniVersion": "1.1.0", "name": "pods", "type": TYPE}
            if command == "CHECK":
                fields["prevResult"] = results.get(pod, {})
            environment = {
                "CNI_COMMAND": command,
                "CNI_CONTAINERID": f"pod-{pod}",
                "CNI_NETNS": spaces[pod],
                "CNI_IFNAME": "eth0",
                "CNI_PATH": str(node.bin),
            }
            status, output = node.ask(environment, json.dumps(fields).encode())
            answer = json.loads(output) if output else {}
            if command == "ADD" and not status:
                results[pod] = answer
            return int(answer["code"]) if status else 0

        with ThreadPoolExecutor(CALLERS) as callers:
            codes = list(callers.map(call, work))
        assert set(codes) <= EXPECTED, node.log
        for pod in range(PODS):
            call(("DEL", pod))
        for pod in range(PODS):
            eventually(partial(starts, call, pod), seconds=60)  # once addresses have rested
        given = [address for result in results.values() for address in addresses_of(result)]
        assert len(given) == len(set(given)) == 2 * PODS
        assert [call(("CHECK", pod)) for pod in range(PODS)] == [0] * PODS
        assert node.call("GC", config={"cni.dev/valid-attachments": []}) == (0, {})
        eventually(lambda: links(node.space) == {"lo", "outside", "uplink"})
        assert "vpcrouter_pods 0\n" in node.scrape("/metrics")[1]
        assert "Traceback" not in node.log, node.log


def add(node: Node, space: str) -> dict[str, object]:
    """Starts a pod, once addresses that were released a moment ago may be given out again."""
    answers: list[dict[str, object]] = []

    def is_added() -> bool:
        status, answer = node.call("ADD", "pod", space)
        assert not status or answer["code"] == Code.TRY_LATER, answer
        answers.append(answer)
        return not status

    eventually(is_added, seconds=90.0)
    return answers[-1]


def test_checks_of_a_pod_that_comes_and_goes_see_all_of_it_or_nothing(node: Node) -> None:
    with light_namespaces(1) as (space,):
        ended = threading.Event()
        added: list[dict[str, object]] = []

        def check() -> list[tuple[int, str]]:
            found = []
            while not ended.is_set():
                status, answer = node.call("CHECK", "pod", space, {"prevResult": added[-1]})
                said = str(answer.get("msg", ""))
                if "which prevResult lacks" not in said:  # it is of the time before
                    found.append((status, said))
            return found

        added.append(add(node, space))
        with ThreadPoolExecutor() as callers:
            checks = [callers.submit(check) for _ in range(4)]
            try:
                for _ in range(examples(test=10, prove=200)):
                    assert node.call("DEL", "pod", space) == (0, {})
                    added.append(add(node, space))
            finally:
                ended.set()
        found = {answer for done in checks for answer in done.result()}
        assert node.call("DEL", "pod", space) == (0, {})
        gone = "eth0 of container pod has no addresses here: start the pod anew"
        assert found <= {(0, ""), (1, gone)}, node.log
