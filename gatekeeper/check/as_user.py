"""A look at the host with the rights that the guard will have."""

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def as_user(user: str) -> Iterator[None]:
    """Have the rights of `user`, where this process may take them on."""
    try:
        account = pwd.getpwnam(user)
    except KeyError:  # told by `check_directories`
        account = None
    if os.geteuid() != 0 or account is None:
        yield
        return
    groups, group = os.getgroups(), os.getegid()
    try:
        os.setgroups(os.getgrouplist(user, account.pw_gid))
        os.setegid(account.pw_gid)
        os.seteuid(account.pw_uid)
        yield
    finally:
        os.seteuid(0)
        os.setegid(group)
        os.setgroups(groups)
