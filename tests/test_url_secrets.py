"""What of a URL is shown, and what is not."""

import pytest

from lockstitch.url_secrets import without_secrets


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://me:hidden@db/x", "postgresql://me:***@db/x"),
        ("postgresql://db/x?user=a&password=s3cret", "postgresql://db/x?user=a&password=***"),
        ("postgresql://db/x?password=s3cret&sslmode=require", "postgresql://db/x?password=***&sslmode=require"),
        ("postgresql://db/x?sslpassword=s3cret", "postgresql://db/x?sslpassword=***"),
        ("postgresql://db/x?PASS%57ORD=s3cret", "postgresql://db/x?PASS%57ORD=***"),
        ("https://models.example/v1?api-key=s3cret#top", "https://models.example/v1?api-key=***#top"),
        ("sqlite:////var/lib/lockstitch.db", "sqlite:////var/lib/lockstitch.db"),
        ("http://127.0.0.1:8700", "http://127.0.0.1:8700"),
    ],
)
def test_what_a_url_keeps_secret_is_not_shown_and_the_rest_is(text, shown):
    assert without_secrets(text) == shown
