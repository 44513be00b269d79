"""Signatures as AWS documents them, and buckets that are made once."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import pytest

from plugins.module_utils.s3 import Answer, Buckets, Credentials, S3Error, signed_headers, words_of

# The examples of https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
KEYS = Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "us-east-1")
NOON = datetime(2013, 5, 24, tzinfo=UTC)
HOST = "https://examplebucket.s3.amazonaws.com"


@pytest.mark.parametrize(
    ("url", "extra", "signature"),
    [
        pytest.param(
            f"{HOST}/test.txt",
            {"range": "bytes=0-9"},
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
            id="an object's first bytes",
        ),
        pytest.param(
            f"{HOST}/?lifecycle",
            {},
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
            id="a query without a value",
        ),
        pytest.param(
            f"{HOST}/?max-keys=2&prefix=J",
            {},
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
            id="a list with a prefix",
        ),
    ],
)
def test_a_signature_is_the_one_that_aws_documents(url: str, extra: Mapping[str, str], signature: str) -> None:
    headers = signed_headers("GET", url, b"", KEYS, NOON, extra=extra)
    assert headers["Authorization"].endswith(f"Signature={signature}")


class Service:
    def __init__(self, statuses: dict[str, int]) -> None:
        self.statuses = statuses
        self.asked: list[str] = []

    def __call__(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        assert headers["Authorization"].startswith("AWS4-HMAC-SHA256 ")
        self.asked.append(f"{method} {url} {body.decode()}".strip())
        status = self.statuses.get(url.rpartition("/")[2], 404)
        return Answer(status, b"<Error><Code>Nope</Code><Message>Not so</Message></Error>" if status >= 300 else b"")


def buckets(service: Service, region: str = "us-east-1") -> Buckets:
    return Buckets("http://192.0.2.61:8080/", Credentials("key", "secret", region), service, lambda: NOON)


def test_only_buckets_that_are_not_there_are_missing() -> None:
    assert buckets(Service({"school": 200})).missing(["school", "backups"]) == ["backups"]


def test_a_refused_key_is_not_taken_for_a_missing_bucket() -> None:
    with pytest.raises(S3Error, match="bucket school: 403; does the key key belong to") as refused:
        buckets(Service({"school": 403})).missing(["school"])
    assert refused.value.status == 403


def test_another_region_is_named_when_a_bucket_is_made() -> None:
    service = Service({"school": 200})
    buckets(service, "eu-central-1").make("school")
    assert "<LocationConstraint>eu-central-1</LocationConstraint>" in service.asked[0]


def test_a_bucket_that_cannot_be_made_is_told_in_the_services_words() -> None:
    with pytest.raises(S3Error, match="bucket school can't be made: 409 Nope Not so"):
        buckets(Service({"school": 409})).make("school")
    assert words_of(b"bad gateway") == "bad gateway"
