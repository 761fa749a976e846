"""The object store, for whatever is kept in one."""

from servers import s3, s3_server  # noqa: F401
