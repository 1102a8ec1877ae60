"""Whom an HTTP client of ours trusts."""

import ssl

import httpx2


def trusted_for(url: httpx2.URL | str) -> ssl.SSLContext:
    """Return the authorities whose certificates are taken at ``url``: the machine's, and for plain HTTP none.

    Loading the machine's takes 50 ms, in which an event loop does nothing else.
    """
    if httpx2.URL(url).scheme == "http":
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return httpx2.create_ssl_context()
