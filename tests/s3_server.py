"""A server with the API of S3, and an environment that leads to it."""

from collections.abc import Iterator
from contextlib import contextmanager

import boto3
import httpx2
import pytest
from moto.server import ThreadedMotoServer

BUCKET = "payloads"
REGION = "eu-central-1"


@contextmanager
def started_s3() -> Iterator[str]:
    """Start a server with one bucket for as long as the ``with`` lasts, and return its URL."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    settings = {
        "AWS_ENDPOINT_URL_S3": url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": REGION,
    }
    try:
        httpx2.post(f"{url}/moto-api/reset", trust_env=False)  # servers of one process share their buckets
        with pytest.MonkeyPatch.context() as environment:
            for name, value in settings.items():
                environment.setenv(name, value)
            location = {"LocationConstraint": REGION}
            boto3.client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration=location)
            yield url
    finally:
        server.stop()
