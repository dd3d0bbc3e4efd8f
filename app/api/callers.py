"""Whom a request counts for: an address, a credential, a person; as digests, never as they are."""

from __future__ import annotations

import hashlib
import re
from ipaddress import IPv6Address, IPv6Network, ip_address

from flask import g, request

from app import extensions

# What one customer of a provider gets; single addresses in it cost nothing to change.
_IPV6_PREFIX_BITS = 64
# Some proxies add the port, which is another with every connection.
_WITH_PORT = re.compile(r"\[(?P<v6>[^\]]+)\](:\d+)?|(?P<v4>[\d.]+):\d+")


def client_network() -> str:
    """Where the request comes from, as far as the trusted proxies vouch for it.

    An IPv4 address stands alone, an IPv6 one for its /64; what is no address (a Unix socket, an
    odd proxy) counts as the text that it is.
    """
    return network_of(request.remote_addr or "")


def network_of(text: str) -> str:
    """The network that an address counts for."""
    host = text.strip()
    if match := _WITH_PORT.fullmatch(host):
        host = match["v6"] or match["v4"]
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return text
    if not isinstance(address, IPv6Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(IPv6Network((address, _IPV6_PREFIX_BITS), strict=False))


def api_key_given() -> str:
    """The API key as the caller sent it; it may be wrong."""
    return request.headers.get("x-api-key", "")


def authenticated_client() -> str:
    """The subject of the request's token or, without one, its API key; after authentication."""
    claims = g.get("token_claims")
    return f"key:{api_key_given()}" if claims is None else f"sub:{claims.get('sub')}"


def digest(*parts: str) -> str:
    """A name for these parts that tells nobody what they are: 32 hex characters.

    It depends on MASTER_SECRET, so that addresses and emails can't be found by trying.
    """
    secret = extensions.get().settings.master_secret.get_secret_value()
    key = hashlib.sha256(b"rate limits" + secret.encode("utf-8", "surrogatepass")).digest()
    text = "\x00".join(parts).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, key=key, digest_size=16).hexdigest()
