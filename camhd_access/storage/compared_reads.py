"""Bytes of one version of a file, from filesystems that do not compare versions themselves.

Each response of an object store has the ETag of the object that its bytes are of, but fsspec's filesystems
do not return it. So ranges are requested from s3fs, obstore and adlfs here, in the same way as they do it,
and the ETag is compared before the bytes are read: this costs no request. With any other filesystem, the file
is described again after its bytes were read, which costs one request for each call.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from fsspec import AbstractFileSystem
from fsspec.asyn import _run_coros_in_chunks

from camhd_access.errors import RemoteFileChangedError
from camhd_access.ranges import Interval
from camhd_access.storage.local_files import chain_of
from camhd_access.urls import redact_url

__all__ = ["describe_anew", "forget_listings", "read_ranges"]

Read = Callable[[Any, str, int, int, str], Awaitable[bytes | None]]
"""Reads a range of the object with this ETag (without quotes); None if the response does not have it."""


async def read_ranges(
    filesystem: AbstractFileSystem,
    path: str,
    ranges: Sequence[Interval],
    *,
    etag: str,
    is_current: Callable[[], Awaitable[bool]],
) -> list[Any]:
    """The bytes of each range, or the exception: `RemoteFileChangedError` if they are of another version.

    Parameters
    ----------
    etag
        The ETag of the required version, without quotes; empty if the filesystem does not tell it.
    is_current
        Whether the file is still of that version, by a request. It is called after the bytes were read, and
        only if responses do not have the ETag.
    """
    if not ranges:
        return []
    changed = RemoteFileChangedError(f"{redact_url(path)} was replaced since it was opened; open it again")
    try:
        if etag and (read := _find_read(filesystem)):
            answers: list[Any] = await _run_coros_in_chunks(
                [read(filesystem, path, each.start, each.stop, etag) for each in ranges],
                batch_size=filesystem.batch_size,
                nofiles=True,
                return_exceptions=True,
            )
            if None not in answers:
                return answers
            if not await is_current():
                return [changed] * len(ranges)
        starts, stops = [each.start for each in ranges], [each.stop for each in ranges]
        answers = await filesystem._cat_ranges(  # noqa: SLF001 - fsspec's async interface
            [path] * len(ranges), starts, stops, on_error="return"
        )
        return answers if await is_current() else [changed] * len(ranges)
    except Exception as error:  # noqa: BLE001 - such as of a file that was deleted
        return [error] * len(ranges)


async def describe_anew(filesystem: AbstractFileSystem, path: str) -> Mapping[str, Any]:
    """The `info` of a file as it is now, not as the filesystem remembers it from a listing."""
    forget_listings(filesystem, path)
    info: Mapping[str, Any] = await filesystem._info(path)  # noqa: SLF001 - as above
    return info


def forget_listings(filesystem: AbstractFileSystem, path: str) -> None:
    """Drop what a filesystem, and those that it wraps, remember of a file."""
    for each in chain_of(filesystem):
        each.invalidate_cache(path)


def _find_read(filesystem: AbstractFileSystem) -> Read | None:
    """How to read a range with its ETag; None for other filesystems, and other releases of these."""
    kinds = {type_.__module__.partition(".")[0] for type_ in type(filesystem).__mro__}
    for kind, names, read in _READS:
        if kind in kinds and all(hasattr(filesystem, name) for name in names):
            return read
    return None


async def _read_by_s3fs(filesystem: Any, path: str, start: int, stop: int, etag: str) -> bytes | None:  # noqa: ANN401
    from s3fs.core import _error_wrapper  # noqa: PLC0415 - optional

    bucket, key, version_id = filesystem.split_path(path)
    named = {"VersionId": version_id} if version_id else {}

    async def read() -> bytes | None:
        response = await filesystem._call_s3(  # noqa: SLF001 - its own `_cat_file` does not return the ETag
            "get_object", Bucket=bucket, Key=key, Range=f"bytes={start}-{stop - 1}", **named
        )
        try:
            return await response["Body"].read() if _is(etag, response.get("ETag")) else None
        finally:
            response["Body"].close()

    data: bytes | None = await _error_wrapper(read, retries=filesystem.retries)
    return data


async def _read_by_obstore(filesystem: Any, path: str, start: int, stop: int, etag: str) -> bytes | None:  # noqa: ANN401
    bucket, key = filesystem._split_path(path)  # noqa: SLF001 - as above
    response = await filesystem._construct_store(bucket).get_async(key, options={"range": (start, stop)})  # noqa: SLF001
    if not _is(etag, response.meta["e_tag"]):
        return None
    data: bytes = (await response.bytes_async()).to_bytes()
    return data


async def _read_by_adlfs(filesystem: Any, path: str, start: int, stop: int, etag: str) -> bytes | None:  # noqa: ANN401
    from azure.core.exceptions import ResourceNotFoundError  # noqa: PLC0415 - optional

    container, blob, version_id = filesystem.split_path(path)
    async with filesystem.service_client.get_blob_client(container=container, blob=blob) as client:
        try:
            response = await client.download_blob(
                offset=start,
                length=stop - start,
                version_id=version_id,
                max_concurrency=filesystem.max_concurrency,
                **filesystem._timeout_kwargs,  # noqa: SLF001 - as above
            )
        except ResourceNotFoundError as error:
            raise FileNotFoundError(path) from error
        if not _is(etag, response.properties.etag):
            return None
        data: bytes = await response.readall()
        return data


def _is(etag: str, found: str | None) -> bool:
    return (found or "").strip('"') == etag


_READS: list[tuple[str, set[str], Read]] = [
    ("s3fs", {"split_path", "_call_s3", "retries"}, _read_by_s3fs),
    ("obstore", {"_split_path", "_construct_store"}, _read_by_obstore),
    ("adlfs", {"split_path", "service_client", "max_concurrency", "_timeout_kwargs"}, _read_by_adlfs),
]
"""Filesystems by package, what is needed of them, and how to read from them."""
