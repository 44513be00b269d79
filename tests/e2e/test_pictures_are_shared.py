# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A picture uploaded through one app server downloads through the other, and is an ordinary S3 object."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.e2e.support.lab import Lab
from tests.e2e.support.web import Visitor, new_key, served_by

MEGABYTE = 1024 * 1024


def bucket_client(lab: Lab, secret: str | None = None) -> Any:
    store = lab.tier("object_storage")[0]
    return boto3.client(
        "s3",
        endpoint_url=f"http://{lab.address(store)}:8080",
        aws_access_key_id=lab.credentials["vault_s3_access_key"],
        aws_secret_access_key=secret or lab.credentials["vault_s3_secret_key"],
        region_name="us-east-1",
        config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
    )


@pytest.fixture
def picture(visitor: Visitor) -> Iterator[str]:
    name = f"{new_key('proof')}.jpg"
    yield name
    visitor.http.delete(f"/api/pictures/{name}")


@pytest.mark.parametrize("size", [100_000, 30 * MEGABYTE], ids=["100_kB", "30_MB"])
def test_a_picture_is_the_same_from_everywhere(
    lab: Lab, visitor: Visitor, app_servers: list[str], picture: str, size: int
) -> None:
    body = random.Random(size).randbytes(size)
    fingerprint = hashlib.sha256(body).hexdigest()
    first, second = app_servers[:2]
    path = f"/api/pictures/{picture}"

    visitor.send_to(first, "PUT", path, content=body, headers={"Content-Type": "image/jpeg"}, timeout=60)
    answer = visitor.get_from(second, path, seconds=60)
    assert served_by(answer) == second
    assert hashlib.sha256(answer.content).hexdigest() == fingerprint
    assert answer.headers["ETag"]
    head = visitor.http.head(path)
    assert (head.status_code, head.headers["Content-Length"]) == (200, str(size))

    s3 = bucket_client(lab)
    keys = [row["Key"] for row in s3.list_objects_v2(Bucket="school")["Contents"] if row["Key"].endswith(picture)]
    assert len(keys) == 1, f"boto3 has to see {picture} once in the bucket school, not: {keys}"
    assert hashlib.sha256(s3.get_object(Bucket="school", Key=keys[0])["Body"].read()).hexdigest() == fingerprint


def test_a_deleted_picture_is_gone_everywhere(visitor: Visitor, app_servers: list[str], picture: str) -> None:
    path = f"/api/pictures/{picture}"
    assert visitor.http.put(path, content=b"a picture").status_code in {200, 201}
    assert visitor.http.delete(path).status_code in {200, 204}
    answers = [visitor.get(path) for _turn in range(6)]
    assert {served_by(answer) for answer in answers} == set(app_servers)
    assert {answer.status_code for answer in answers} == {404}


def test_more_than_fifty_megabytes_are_refused(visitor: Visitor, picture: str) -> None:
    answer = visitor.http.put(f"/api/pictures/{picture}", content=b"\0" * (51 * MEGABYTE), timeout=60)
    assert answer.status_code == 413


def test_a_wrong_key_opens_no_bucket(lab: Lab) -> None:
    with pytest.raises(ClientError) as refusal:
        bucket_client(lab, secret="guessed").list_objects_v2(Bucket="school")
    assert refusal.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
