"""Decision links: what is read is what was made, and nothing else is read."""

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest

from lockstitch.errors import DecisionLinkExpired, DecisionLinkInvalid, SettingsInvalid
from lockstitch.starter.decision_links import DecisionLinks, DecisionToken

NOW = datetime(2026, 11, 3, 20, 26, 10, tzinfo=UTC)
IN_AN_HOUR = NOW + timedelta(hours=1)
OLD, NEW = "o" * 32, "n" * 32
LINKS = DecisionLinks([NEW], "https://lockstitch.example/")


def made(links: DecisionLinks = LINKS, **options) -> str:
    return links.make("esc_1", "run_1", "call_1", IN_AN_HOUR, **options)


def test_what_is_read_is_what_was_made():
    token = LINKS.read(made(nonce="n1"), NOW)

    assert token == DecisionToken("esc_1", "run_1", "call_1", IN_AN_HOUR, "n1")
    assert LINKS.read(LINKS.make("esc_2", "run_1", None, IN_AN_HOUR), NOW).call_id is None


def test_a_link_leads_to_the_public_url_and_needs_no_escaping():
    token = LINKS.make("esc/ä 1", "run_1", "call?&1", IN_AN_HOUR)
    url = LINKS.url(token)

    assert url == f"https://lockstitch.example/decisions/{token}"
    assert set(token) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")
    assert LINKS.read(token, NOW).escalation_id == "esc/ä 1"


def test_two_links_to_one_decision_differ_unless_they_share_a_nonce():
    assert made() != made()
    assert made(nonce="same") == made(nonce="same")


def test_a_link_is_good_until_it_expires():
    token = made()
    LINKS.read(token, IN_AN_HOUR - timedelta(seconds=1))

    with pytest.raises(DecisionLinkExpired, match="expired at 2026-11-03 21:26:10 UTC") as expired:
        LINKS.read(token, IN_AN_HOUR)
    assert expired.value.expired_at == IN_AN_HOUR


def test_links_of_an_older_secret_are_read_as_long_as_it_is_listed():
    before, during, after = (DecisionLinks(it, "https://a") for it in ([OLD], [NEW, OLD], [NEW]))

    assert during.read(made(before), NOW) and during.read(made(during), NOW)  # noqa: PT018 - one statement
    assert after.read(made(during), NOW)
    with pytest.raises(DecisionLinkInvalid, match="its signature is not one of ours"):
        after.read(made(before), NOW)


@pytest.mark.parametrize("position", range(0, len(made(nonce="n1")), 7))
def test_a_token_of_which_any_character_was_changed_is_refused(position):
    token = made(nonce="n1")
    for other in "Ax-.":
        changed = token[:position] + other + token[position + 1 :]
        if changed != token:
            with pytest.raises(DecisionLinkInvalid):
                LINKS.read(changed, NOW)


def test_a_forged_payload_is_refused_even_when_it_has_expired():
    """Who forges learns nothing but that it is not ours."""
    payload, _, signature = made().partition(".")
    content = json.loads(base64.urlsafe_b64decode(payload + "=="))
    for change in ({"call_id": "call_2"}, {"expires_at": 0}):
        forged = base64.urlsafe_b64encode(json.dumps(content | change).encode()).decode().rstrip("=")
        with pytest.raises(DecisionLinkInvalid, match="not one of ours") as refused:
            LINKS.read(f"{forged}.{signature}", NOW)
        assert not isinstance(refused.value, DecisionLinkExpired)


@pytest.mark.parametrize(
    "token",
    ["", ".", "a", "a.", ".a", "a.b", "ä.ö", f"{made()}=", f"{made()} ", f"{made()}.{made()}", "a" * 5000 + ".b"],
)
def test_what_is_no_token_is_refused_with_one_sentence(token):
    with pytest.raises(DecisionLinkInvalid, match=r"^This decision link is not valid: [^\n]+\.$"):
        LINKS.read(token, NOW)


@pytest.mark.parametrize("content", [b"[]", b"no json", b"{}", b'{"expires_at": 1e99}', b'"text"'])
def test_a_token_of_ours_with_another_content_is_refused(content):
    """As another version of ours may make them."""
    from lockstitch.starter import decision_links

    encoded = decision_links._encode(content)
    signature = decision_links._encode(decision_links._signature(NEW.encode(), encoded))
    with pytest.raises(DecisionLinkInvalid, match="a version that is not known here"):
        LINKS.read(f"{encoded}.{signature}", NOW)


@pytest.mark.parametrize("secrets", [[], ["x" * 31], [NEW, "short"]])
def test_secrets_that_are_too_short_are_refused_and_not_quoted(secrets):
    with pytest.raises(SettingsInvalid, match=r"LOCKSTITCH_LINK_SECRETS: .* at least 32 bytes") as refused:
        DecisionLinks(secrets, "https://a")
    assert all(secret not in str(refused.value) for secret in secrets)


@pytest.mark.parametrize("url", ["", "lockstitch.example", "ftp://a"])
def test_a_public_url_that_is_none_is_refused(url):
    with pytest.raises(SettingsInvalid, match="LOCKSTITCH_PUBLIC_URL"):
        DecisionLinks([NEW], url)


def test_the_repr_shows_no_secret():
    assert repr(DecisionLinks([NEW, OLD], "https://a/")) == "DecisionLinks('https://a', secrets=2)"
