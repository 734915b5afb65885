"""A bucket of an object store that speaks S3: its address, proof that it is one, and what is in it now."""

from __future__ import annotations

import functools
import hashlib
import ipaddress
import os
import re
import secrets
import socket
import ssl
import urllib.parse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree.ElementTree import ParseError

from minipach.git.child_environment import child_environment
from minipach.support.errors import Problem, UserError
from minipach.support.keyrings import KeyringError, ask_keyring
from minipach.support.text import quoted

if TYPE_CHECKING:  # the library takes a fifth of a second to import
    from minio import Minio

_CONNECT, _READ = 10.0, 60.0  # seconds
_ACCESS, _SECRET = "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"  # also their names in the keyring
EVENTS = ("s3:ObjectCreated:*", "s3:ObjectRemoved:*")


@dataclass(frozen=True, slots=True)
class Bucket:
    """The place of a bucket: the address of its store, its name, and the prefix of the keys that count."""

    url: str
    name: str
    prefix: str = ""

    @property
    def host(self) -> str:
        """The host of the store."""
        return self._parts.hostname or ""

    @property
    def port(self) -> int:
        """Its port."""
        return self._parts.port or (443 if self.secure else 80)

    @property
    def secure(self) -> bool:
        """Whether it is reached by TLS."""
        return self._parts.scheme == "https"

    @property
    def _parts(self) -> urllib.parse.SplitResult:
        return urllib.parse.urlsplit(self.url)


@dataclass(frozen=True, slots=True)
class Credentials:
    """The credentials of a store."""

    access: str
    secret: str

    def __repr__(self) -> str:
        """Return no secret."""
        return "Credentials()"


@dataclass(frozen=True, slots=True)
class Listing:
    """The objects of a bucket now. names: keys less the prefix · digest: changes whenever an object does."""

    names: frozenset[str]
    digest: str


def bucket(url: str, name: str, prefix: str) -> Bucket:
    """Return the place of a bucket. Raises UserError if the address is none of a store."""
    try:
        parts = urllib.parse.urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.path in ("", "/")
        good = good and not (parts.query or parts.fragment or parts.username) and (parts.port is None or parts.port > 0)
    except ValueError:
        good = False
    if not good:
        fix = "write one such as https://s3.example.org:9000, without a path and without credentials"
        raise UserError(Problem("bucket.bad-url", url.rpartition("@")[2], "not the address of an object store", fix))
    if prefix and not prefix.endswith("/"):
        prefix += "/"
    if any(ord(c) < 32 for c in name + prefix) or not name or prefix.startswith("/"):
        raise UserError(Problem("bucket.bad-name", name or "--bucket", "not a bucket or a prefix", "correct the name"))
    return Bucket(url.rstrip("/"), name, prefix)


def given_credentials(url: str, held: Credentials | None = None) -> Credentials:
    """Return the credentials of the environment, of `~/.aws/credentials`, those held, or those of the keyring.

    Args:
        url: The address of the store. The keyring has credentials for one address alone.
        held: Those that this clone has for the store already.

    Raises:
        UserError: There are none.
    """
    access, secret = os.environ.get(_ACCESS), os.environ.get(_SECRET)
    if access and secret:
        return Credentials(access, secret)
    from minio.credentials.providers import AWSConfigProvider
    from minio.error import MinioException

    try:
        found = AWSConfigProvider().retrieve()
        return Credentials(found.access_key, found.secret_key)
    except (ValueError, OSError, KeyError, MinioException):
        return held or _from_keyring(url)


@functools.lru_cache(maxsize=8)  # a keyring may ask for its password each time; a failure is not kept
def _from_keyring(url: str) -> Credentials:
    problem = "no credentials are set"
    try:
        access, secret = ask_keyring(url, (_ACCESS, _SECRET), child_environment(), may_ask=True)
    except KeyringError as error:
        problem += f", and {error}"
    else:
        if access and secret:
            return Credentials(access, secret)
        if access or secret:
            problem += f": the keyring has {_ACCESS if access else _SECRET} alone for {url}"
    fix = f"set {_ACCESS} and {_SECRET}, or write ~/.aws/credentials, or run keyring set {quoted(url)} with each name"
    raise UserError(Problem("bucket.no-credentials", "S3", problem, fix))


def stored_credentials(file: Path) -> Credentials | None:
    """Return the credentials that git-annex keeps in a clone; None: there are none."""
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return None
    return Credentials(lines[0], lines[1]) if len(lines) >= 2 else None


def client(place: Bucket, key: Credentials) -> Minio:
    """Return a client whose requests end after a while."""
    import urllib3
    from minio import Minio

    timeout = urllib3.Timeout(connect=_CONNECT, read=_READ)
    pool = urllib3.PoolManager(timeout=timeout, retries=urllib3.Retry(2, backoff_factor=0.2), maxsize=4)
    return Minio(f"{place.host}:{place.port}", key.access, key.secret, secure=place.secure, http_client=pool)


def prove(place: Bucket, key: Credentials) -> bool:
    """Check that a store of this kind answers, and that the bucket can be listed. Return whether it keeps versions.

    Raises:
        UserError: There is no store, no such bucket, or the credentials are refused.
    """
    from minio.error import MinioException, S3Error

    store = client(place, key)
    try:
        # a host that says yes to anything is no store: it must not know a bucket that nobody can have made
        list(store.list_objects(f"minipach-{secrets.token_hex(16)}"))
    except S3Error as error:
        if error.code not in ("NoSuchBucket", "AccessDenied"):
            raise UserError(_refusal(place, error)) from None
    except Exception as error:
        raise UserError(_refusal(place, error)) from None
    else:
        problem = "the host accepts anything, also a bucket of any name: it is no object store"
        raise UserError(Problem("bucket.no-store", place.url, problem, "correct the address"))
    listing(place, key, most=1)
    try:
        return store.get_bucket_versioning(place.name).status == "Enabled"
    except (MinioException, ValueError):
        return False


def listing(place: Bucket, key: Credentials, *, most: int | None = None) -> Listing:
    """Return what is in the bucket now. Raises UserError if it can't be listed."""
    names = set()
    digest = hashlib.sha256()
    try:
        for found in client(place, key).list_objects(place.name, prefix=place.prefix or None, recursive=True):
            name = (found.object_name or "").removeprefix(place.prefix)
            names.add(name)
            row = (name, found.etag, found.size, found.last_modified and found.last_modified.isoformat())
            digest.update(repr(row).encode("utf-8", "surrogatepass") + b"\0")
            if most is not None and len(names) >= most:
                break
    except Exception as error:
        raise UserError(_refusal(place, error)) from None
    return Listing(frozenset(names), digest.hexdigest())


def make_bucket(place: Bucket, key: Credentials) -> bool:
    """Make a bucket if there is none. Return whether it was made. Raises UserError."""
    try:
        store = client(place, key)
        if store.bucket_exists(place.name):
            return False
        store.make_bucket(place.name)
    except Exception as error:
        raise UserError(_refusal(place, error)) from None
    return True


def remove_objects(place: Bucket, key: Credentials, prefix: str) -> None:
    """Remove the objects whose keys begin with a prefix. Raises UserError."""
    store = client(place, key)
    try:
        for found in store.list_objects(place.name, prefix=prefix, recursive=True):
            store.remove_object(place.name, found.object_name or "")
    except Exception as error:
        raise UserError(_refusal(place, error)) from None


def _refusal(place: Bucket, error: Exception) -> Problem:
    """Return the problem of a request that failed. What the libraries raise besides their own errors varies."""
    from minio.error import S3Error

    where = f"{place.url}/{place.name}"
    refused_name = isinstance(error, S3Error) and error.code == "InvalidBucketName"
    if refused_name or (isinstance(error, ValueError) and "bucket name" in str(error)):  # or before anything is sent
        fix = "3 to 63 lower-case letters, digits, dots and hyphens"
        return Problem("bucket.bad-name", place.name or "--bucket", "not the name of a bucket", fix)
    if isinstance(error, S3Error):
        codes = {"NoSuchBucket": "make the bucket, or correct --bucket"}
        fix = codes.get(str(error.code), "correct the credentials, or ask for access")
        return Problem("bucket.refused", where, f"the store answered {error.code}", fix)
    # of an answer with code 200, and no XML or that of something else
    if isinstance(error, ParseError) or (isinstance(error, ValueError) and str(error).startswith("XML element")):
        problem = "the host accepts anything, but answers nothing that a store would: it is no object store"
        return Problem("bucket.no-store", where, problem, "correct the address")
    problem = f"no object store answers at {place.host}:{place.port}: {reason(error)}"
    return Problem("bucket.no-store", where, problem, "start the store, or correct the address")


def reason(error: BaseException) -> str:
    """Return why a request failed, in a few words: urllib3's own text repeats the request, and is long."""
    first: BaseException = getattr(error, "reason", None) or error  # of MaxRetryError
    step: BaseException | None = first
    seen: set[int] = set()
    while step is not None and id(step) not in seen:
        seen.add(id(step))
        if isinstance(step, ssl.SSLError):
            return step.reason.lower().replace("_", " ") if step.reason else str(step)
        if isinstance(step, OSError) and step.strerror:
            return step.strerror
        inside = [arg for arg in step.args if isinstance(arg, BaseException)]
        step = inside[0] if inside else step.__cause__ or step.__context__
    text = " ".join(str(first.args[-1] if first.args else first).split()) or type(first).__name__
    return re.sub(r"^\w+\(.*?\): ", "", text)  # the connection, as an object


def private_addresses(host: str) -> list[str]:
    """Return the addresses of a host that git-annex does not speak to unless a setting allows it."""
    try:
        found = {str(row[4][0]) for row in socket.getaddrinfo(host, None)}
    except (OSError, UnicodeError):
        return []
    return sorted(address for address in found if not ipaddress.ip_address(address.partition("%")[0]).is_global)


def describe(event: Any) -> str:
    """Return what changed, of an event that a listener received; for the log alone."""
    records = event.get("Records") if isinstance(event, dict) else None
    first = records[0] if isinstance(records, list) and records else None
    if not isinstance(first, dict):
        return "event"
    inside = first.get("s3")
    thing = inside.get("object") if isinstance(inside, dict) else None
    key = thing.get("key") if isinstance(thing, dict) else None
    return f"{first.get('eventName', 'event')} {key}"
