from __future__ import annotations

import pytest

from services.edge.remote_images.addresses import may_connect, read_networks

PUBLIC = ["1.1.1.1", "8.8.8.8", "151.101.1.140", "172.15.0.1", "172.32.0.1", "2606:4700:4700::1111", "2a00:1450::1"]
REFUSED = {
    "loopback": ["127.0.0.1", "127.1.2.3", "::1"],
    "unspecified": ["0.0.0.0", "0.1.2.3", "::"],
    "private": ["10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "fc00::1", "fd12:3456::1"],
    "link-local": ["169.254.0.1", "fe80::1", "fe80::1%eth0", "fec0::1"],
    "metadata": ["169.254.169.254", "100.100.100.200", "192.0.0.192", "168.63.129.16", "fd00:ec2::254"],
    "carrier-grade NAT": ["100.64.0.1", "100.127.255.255"],
    "multicast": ["224.0.0.1", "239.255.255.255", "ff02::1", "ff0e::1"],
    "reserved": ["240.0.0.1", "255.255.255.255", "192.88.99.1", "198.18.0.1", "192.0.0.8", "100::1", "5f00::1"],
    "documentation": ["192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::1", "3fff::1"],
    "IPv4-mapped": ["::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:8.8.8.8", "::ffff:0:127.0.0.1"],
    "IPv4-compatible": ["::127.0.0.1", "::8.8.8.8"],
    "6to4": ["2002:7f00:1::", "2002:a9fe:a9fe::1", "2002:808:808::1"],
    "NAT64": ["64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::7f00:1", "64:ff9b::808:808"],
    "Teredo": ["2001:0:4136:e378:8000:63bf:80ff:fffe", "2001::1"],
    "no address": ["", "localhost", "127.1", "2130706433", "0x7f000001", "0177.0.0.1"],
}


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_may_be_connected_to(address: str) -> None:
    assert may_connect(address, ())


@pytest.mark.parametrize(("kind", "address"), [(kind, one) for kind, every in REFUSED.items() for one in every])
def test_other_addresses_may_not(kind: str, address: str) -> None:
    assert not may_connect(address, ()), kind


def test_an_operator_may_name_networks() -> None:
    networks = read_networks(["127.0.0.0/8", "fd00::/8"])
    assert may_connect("127.0.0.1", networks)
    assert may_connect("fd00::1", networks)
    assert not may_connect("10.0.0.1", networks)
    assert not may_connect("::ffff:127.0.0.1", networks)
    assert not may_connect("fe80::1%eth0", read_networks(["fe80::/10"]))


def test_a_network_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="10"):
        read_networks(["10.0.0.0/99"])
