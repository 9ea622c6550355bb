"""A registry's URL is refused where it is wrong, and not only when, or where, something connects."""

from __future__ import annotations

import pytest

from executions.dispatch import plain_broker_url
from executions.errors import InvalidSetting
from executions.registry.connection import normalize_url, same_server


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("redis://127.0.0.1:6379/x", "the database must be a number, not 'x'"),
        ("redis://127.0.0.1:6379/0/1", "the database must be a number, not '0/1'"),
        ("redis://127.0.0.1:6379/0?foo=bar", "unknown option 'foo'"),
        ("unix:///run/server.sock?database=3", "unknown option 'database'"),
        ("redis://127.0.0.1:port", "Port could not be cast"),
        ("http://127.0.0.1", "give redis://"),
        ("redis://:hidden@127.0.0.1/x", "must be a number"),
    ],
)
def test_a_wrong_url_says_what_is_wrong_with_it(url: str, what: str) -> None:
    with pytest.raises(InvalidSetting) as refused:
        normalize_url(url)
    assert what in str(refused.value)
    assert "hidden" not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "redis://127.0.0.1:6379/15",
        "redis://user:pass%2Fword@host?db=3&protocol=2&socket_timeout=5",
        "unix://:word@/run/server.sock?db=3",
        "rediss://host/1?ssl_ca_certs=/ca.pem&ssl_cert_reqs=none",
    ],
)
def test_a_right_url_stays_as_it_is(url: str) -> None:
    assert normalize_url(url) == url


@pytest.mark.parametrize("url", ["rediss://host:6380/0", "valkeys://host:6380/0?ssl_ca_certs=/ca.pem"])
def test_a_tls_url_needs_no_more_for_celery_than_for_the_driver(url: str) -> None:
    # Celery's workers refuse one that does not say whether the certificate is checked; the driver checks it.
    assert normalize_url(url).endswith("ssl_cert_reqs=required")
    assert plain_broker_url(url) == normalize_url(url)
    assert same_server(url, plain_broker_url(url))
