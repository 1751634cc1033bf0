from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from rig.addresses import CLUSTERS, Addresses


def test_all_addresses_of_a_cluster_lie_in_its_network() -> None:
    plan = Addresses(3)
    whole = ip_network(plan.network)

    for address in (plan.control_plane, plan.host, plan.host_gateway, plan.first_service, plan.node(1), plan.node(100)):
        assert ip_address(address) in whole
    for network in (plan.services, plan.pods, plan.pods_of(1), plan.pods_of(100)):
        assert ip_network(network).subnet_of(whole)


def test_networks_inside_a_cluster_do_not_overlap() -> None:
    plan = Addresses(0)
    machines = ip_network(f"{plan.control_plane}/24", strict=False)
    host = ip_network(f"{plan.host}/30", strict=False)
    apart = [machines, host, ip_network(plan.services), ip_network(plan.pods)]

    assert not [(a, b) for a in apart for b in apart if a is not b and a.overlaps(b)]
    assert ip_address(plan.node(100)) in machines
    assert ip_network(plan.pods_of(100)).subnet_of(ip_network(plan.pods))
    assert not ip_network(plan.pods_of(1)).overlaps(ip_network(plan.pods_of(2)))


def test_clusters_do_not_overlap_and_stay_in_the_shared_address_space() -> None:
    networks = [ip_network(Addresses(index).network) for index in range(CLUSTERS)]

    assert len(set(networks)) == CLUSTERS
    assert all(network.subnet_of(ip_network("100.64.0.0/10")) for network in networks)


@pytest.mark.parametrize("index", [-1, CLUSTERS])
def test_index_out_of_range_is_refused(index: int) -> None:
    with pytest.raises(ValueError, match=f"cluster index {index} "):
        _ = Addresses(index).network


@pytest.mark.parametrize("number", [0, 101])
def test_node_number_out_of_range_is_refused(number: int) -> None:
    with pytest.raises(ValueError, match=f"node number {number} "):
        Addresses(0).node(number)
