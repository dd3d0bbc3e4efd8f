"""Which addresses count as one client."""

from __future__ import annotations

import pytest

from app.api.callers import network_of


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        (" 192.0.2.1 ", "192.0.2.1"),
        ("192.0.2.1:5678", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:DB8:1:2::", "2001:db8:1:2::/64"),
        ("[2001:db8:1:2::9]:443", "2001:db8:1:2::/64"),
        ("[2001:db8:1:2::9]", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("", ""),
        ("unix:", "unix:"),
        ("999.0.2.1", "999.0.2.1"),
        ("[nonsense]:1", "[nonsense]:1"),
        ("192.0.2.1, 198.51.100.1", "192.0.2.1, 198.51.100.1"),
    ],
)
def test_an_address_counts_for_its_network(text: str, network: str) -> None:
    assert network_of(text) == network
