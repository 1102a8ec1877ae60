"""Which addresses a webhook may go to."""

import pytest

from lockstitch.activities.public_addresses import is_public, resolve


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "1.1.1.1", "172.32.0.1", "100.128.0.1", "192.169.0.1", "2001:4860:4860::8888", "2606:4700::1111"],
)
def test_addresses_of_the_internet_are_public(address):
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.255.255.254", "::1",  # loopback
        "10.0.0.1", "172.16.0.1", "192.168.1.1", "fd00::1",  # private
        "169.254.169.254", "fe80::1", "fe80::1%eth0", "fec0::1",  # link-local, where clouds keep credentials
        "100.64.0.1",  # CGNAT
        "224.0.0.1", "239.255.255.250", "ff02::1",  # multicast
        "0.0.0.0", "::",  # unspecified
        "255.255.255.255", "240.0.0.1",  # reserved
        "192.0.0.8", "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "2001:db8::1", "3fff::1",
        "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::127.0.0.1",  # IPv4 in IPv6
        "64:ff9b::7f00:1", "64:ff9b::808:808", "64:ff9b:1::1",  # NAT64
        "2002:7f00:1::", "2002:808:808::1", "192.88.99.1",  # 6to4
        "2001::1",  # Teredo
        "5f00::1", "100::1", "4000::1",  # no unicast
    ],
)  # fmt: skip
def test_addresses_that_lead_inside_or_hide_another_are_not_public(address):
    assert not is_public(address)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "127.1"])
async def test_every_way_to_write_loopback_is_resolved_to_it(host):
    found = await resolve(host, 80)

    assert found
    assert not any(map(is_public, found))
