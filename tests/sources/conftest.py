"""A bucket on a real S3 server, with the misbehaving proxy before it."""

import logging
import os
import uuid

import boto3
import pytest
from moto.server import ThreadedMotoServer

from proxy import Proxy
from server import Server

KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1"}


class Bucket:
    """A bucket that is written to directly and read through the proxy."""

    def __init__(self, store: str):
        self.store = store
        self.name = f"b{uuid.uuid4().hex}"
        self.client = boto3.client(
            "s3",
            endpoint_url=f"http://{store}",
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )
        self.client.create_bucket(Bucket=self.name)
        self.proxy = Proxy(store)
        self.url = f"s3://{self.name}/models"

    def put(self, path: str, content: bytes):
        self.client.put_object(Bucket=self.name, Key=f"models/{path}", Body=content)

    def delete(self, *paths: str):
        for path in paths:
            self.client.delete_object(Bucket=self.name, Key=f"models/{path}")

    def serve(self, cache, *flags: str, **more) -> Server:
        env = {**KEYS, "AWS_ENDPOINT": self.proxy.url, "AWS_ALLOW_HTTP": "true", **more.pop("env", {})}
        return Server(self.url, cache, *flags, env=env, **more)

    def fetched(self) -> list[str]:
        """The files that were asked for, in order."""
        return [path.split("/models/", 1)[1] for path in self.proxy.objects()]


@pytest.fixture(scope="session")
def s3():
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    os.environ.setdefault("MOTO_ALLOW_NONEXISTENT_REGION", "true")
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(s3):
    bucket = Bucket(s3)
    yield bucket
    bucket.proxy.close()


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"
