# Copyright: graphic_school.scaling contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""As much S3 as making buckets takes: hosts need no SDK for it.

Signature: AWS Signature Version 4, https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote, urlsplit
from xml.etree import ElementTree

ALGORITHM = "AWS4-HMAC-SHA256"


class S3Error(Exception):
    """The service refused a request; the text says what it answered, `status` with which status."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Credentials:
    """A key pair and the region that requests are signed for."""

    access_key: str
    secret_key: str
    region: str


@dataclass(frozen=True)
class Answer:
    """Status and body of a response."""

    status: int
    body: bytes


# method, URL, headers, body → answer; raises OSError when nobody answers
Transport = Callable[[str, str, Mapping[str, str], bytes], Answer]


def signed_headers(
    method: str,
    url: str,
    body: bytes,
    credentials: Credentials,
    now: datetime,
    *,
    extra: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Return the headers of a signed request: Authorization, x-amz-date, x-amz-content-sha256, host and `extra`."""
    parts = urlsplit(url)
    moment = now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    digest = hashlib.sha256(body).hexdigest()
    headers = {"host": parts.netloc, "x-amz-content-sha256": digest, "x-amz-date": moment, **(extra or {})}
    names = ";".join(sorted(headers))
    canonical = "\n".join(
        [
            method,
            parts.path or "/",
            "&".join(sorted(item if "=" in item else f"{item}=" for item in parts.query.split("&") if item)),
            *(f"{name}:{' '.join(headers[name].split())}" for name in sorted(headers)),
            "",
            names,
            digest,
        ]
    )
    scope = f"{moment[:8]}/{credentials.region}/s3/aws4_request"
    text = "\n".join([ALGORITHM, moment, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = f"AWS4{credentials.secret_key}".encode()
    for word in scope.split("/"):
        key = hmac.digest(key, word.encode(), "sha256")
    signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    authorization = (
        f"{ALGORITHM} Credential={credentials.access_key}/{scope}, SignedHeaders={names}, Signature={signature}"
    )
    return {**headers, "Authorization": authorization}


class Buckets:
    """Buckets of one service, seen with one key."""

    def __init__(
        self, endpoint: str, credentials: Credentials, transport: Transport, clock: Callable[[], datetime]
    ) -> None:
        self._endpoint = endpoint.rstrip("/")
        self._credentials = credentials
        self._transport = transport
        self._clock = clock

    def _call(self, method: str, path: str, body: bytes = b"") -> Answer:
        url = f"{self._endpoint}/{quote(path, safe='/-._~')}"
        headers = signed_headers(method, url, body, self._credentials, self._clock())
        return self._transport(method, url, headers, body)

    def missing(self, wanted: list[str]) -> list[str]:
        """Return the wanted buckets that this key can't see, in their order. Raises S3Error when one is another's."""
        found = []
        for name in wanted:
            answer = self._call("HEAD", name)
            if answer.status == 404:
                found.append(name)
            elif answer.status >= 300:
                raise S3Error(
                    f"bucket {name}: {answer.status}; does the key {self._credentials.access_key} belong to "
                    f"{self._endpoint}, and the bucket to the key?",
                    answer.status,
                )
        return found

    def make(self, name: str) -> None:
        """Make a bucket. Raises S3Error with the service's own words."""
        region = self._credentials.region
        body = b""
        if region != "us-east-1":
            body = (
                '<CreateBucketConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
                f"<LocationConstraint>{region}</LocationConstraint></CreateBucketConfiguration>"
            ).encode()
        answer = self._call("PUT", name, body)
        if answer.status >= 300:
            raise S3Error(f"bucket {name} can't be made: {answer.status} {words_of(answer.body)}", answer.status)


def words_of(body: bytes) -> str:
    """Return code and message of an S3 error document, or the start of whatever came instead."""
    try:
        root = ElementTree.fromstring(body)
    except ElementTree.ParseError:
        return body[:200].decode(errors="replace")
    return " ".join(text for text in (root.findtext("Code"), root.findtext("Message")) if text)
