"""A registry's URL is refused where it is wrong, and not only when, or where, something connects."""

from __future__ import annotations

import pytest

from executions.dispatch import plain_broker_url
from executions.errors import InvalidSetting
from executions.registry.address import broker_at, mask_password, normalize_url, parse, registry_at, same_server


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


def test_a_url_of_sentinels_names_them_and_the_primary() -> None:
    found = parse("valkeys+sentinel://ann:s%40cret@one,two:27000/main/3?sentinel_password=watch")
    assert (found.kind, found.tls, found.name, found.database) == ("sentinel", True, "main", 3)
    assert found.hosts == (("one", 26379), ("two", 27000))
    assert (found.username, found.password, found.sentinel_password) == ("ann", "s@cret", "watch")


def test_a_url_of_a_cluster_names_some_of_its_nodes() -> None:
    found = parse("cluster://:s3cret@one:7000,[::1]")
    assert (found.kind, found.hosts, found.password) == ("cluster", (("one", 7000), ("::1", 6379)), "s3cret")


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("sentinel://one:26379", "name the primary"),
        ("redis+sentinel://one/main/x", "invalid literal"),
        ("redis+cluster://one:7000/3", "no database but 0"),
        ("redis+cluster://one:7000,", "a host is missing"),
    ],
)
def test_a_url_of_several_hosts_that_cannot_be_one_is_refused(url: str, why: str) -> None:
    with pytest.raises(InvalidSetting, match=why):
        parse(url)


def test_sentinels_are_named_to_kombu_in_its_own_words_and_back() -> None:
    ours = "redis+sentinel://:pw@one:26379,two:26380/main/2"
    broker, options = broker_at(ours)
    assert broker == "sentinel://:pw@one:26379/2;sentinel://:pw@two:26380/2"
    assert options == {"master_name": "main"}
    assert registry_at(broker, options) == ours
    assert registry_at(broker, {}) is None, "without the primary's name nobody can be asked"


def test_no_password_is_shown() -> None:
    url = "redis+sentinel://ann:s3cret@one,two/main?sentinel_password=watch"
    assert "s3cret" not in mask_password(url)
    assert "watch" not in mask_password(url)
