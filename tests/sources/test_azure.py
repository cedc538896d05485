"""A container of Azure Blob Storage, by Microsoft's own server for tests."""

import os
import socket
import subprocess

import pytest
from azure.storage.blob import BlobServiceClient

from models import times
from server import Server, until

AZURITE = os.environ.get("AZURITE", "")
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""Of the account that every Azurite has: it is no secret."""


@pytest.fixture
def azurite():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    flags = ["--blobPort", str(port), "--inMemoryPersistence", "--skipApiVersionCheck", "--silent", "--disableTelemetry"]
    process = subprocess.Popen([AZURITE, *flags])
    is_up = lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0
    until(is_up, "Azurite does not start")
    yield f"http://127.0.0.1:{port}/devstoreaccount1"
    process.kill()
    process.wait()


@pytest.mark.skipif(not AZURITE, reason="Azurite can't be had")
def test_a_container(azurite, cache):
    account = f"AccountName=devstoreaccount1;AccountKey={KEY};BlobEndpoint={azurite};"
    service = BlobServiceClient.from_connection_string(f"DefaultEndpointsProtocol=http;{account}")
    container = service.create_container("models")
    container.upload_blob("prod/m/1/model.onnx", times(2))
    container.upload_blob("prod/m/model.toml", b"")
    env = {
        "AZURE_STORAGE_ACCOUNT_NAME": "devstoreaccount1",
        "AZURE_STORAGE_ACCOUNT_KEY": KEY,
        "AZURE_ENDPOINT": azurite,
        "AZURE_ALLOW_HTTP": "true",
    }
    with Server("az://models/prod", cache, env=env) as server:
        server.wait_ready()
        assert server.predict("m") == 4.0
        container.upload_blob("prod/m/2/model.onnx", times(3))
        server.wait_answer("m", 6.0)
        server.looks()
        assert server.metric("ocelli_source_fetched_files_total") == 3
        assert server.source()["ok"]
        container.delete_blob("prod/m/2/model.onnx")
        server.wait_answer("m", 4.0)
    env["AZURE_STORAGE_ACCOUNT_KEY"] = KEY.replace("Eby8", "AAAA")
    with Server("az://models/prod", cache, env=env) as server:
        # A warm cache serves whatever becomes of the key.
        server.wait_ready()
        assert server.predict("m") == 4.0
        error = server.wait_error("forbidden")
        assert "az://models/prod" in error and "AZURE_STORAGE_ACCOUNT_KEY" in error
