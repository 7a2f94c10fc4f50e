"""Who a sandboxed process is: the worker's user without privileges, without administrators' groups, at low integrity.

Promises: the token can do nothing that this process cannot, and less of it. Also labels folders, because integrity is
decided between a token and a label.
"""

import contextlib
import ctypes
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from runner.sandbox.windows.api import (
    INSUFFICIENT_BUFFER,
    INVALID_HANDLE,
    Handle,
    LuidAndAttributes,
    SecurityAttributes,
    SidAndAttributes,
    call,
    fail,
    function,
    last_error,
)
from sandbox_profiles import windows

_ACCESS = 0x1 | 0x2 | 0x8 | 0x80  # assign to a process, duplicate, query, change its defaults
_QUERY = 0x8
_USER, _GROUPS, _PRIVILEGES, _DEFAULT_DACL, _INTEGRITY = 1, 2, 3, 6, 25
_GROUP_ENABLED = 0x4
_GROUP_INTEGRITY = 0x20
_SDDL_REVISION = 1
_FILE_OBJECT = 1
_LABEL_INFORMATION = 0x10
_REPARSE_POINT = 0x400
_READ_CONTROL, _WRITE_OWNER = 0x20000, 0x80000
_SHARE_ALL = 0x7
_OPEN_EXISTING = 3
_ITSELF = 0x02000000 | 0x00200000  # folders too; a link and not what it leads to


@dataclass(frozen=True, slots=True)
class TokenFacts:
    """What Windows says of a token."""

    user: str
    groups: frozenset[str]
    """Those that may allow something, by SID; the deny-only ones are not among them."""
    privileges: frozenset[str]
    """All that it holds, enabled or not."""
    integrity: int
    """0x1000 low, 0x2000 medium, 0x3000 high."""


def restricted_token() -> Handle:
    """This process's token with everything taken away that `sandbox_profiles.windows` names. Raises OSError."""
    with _own_token(_ACCESS) as own, contextlib.ExitStack() as sids:
        denied = [sids.enter_context(_sid(group)) for group in sorted(facts(own).groups) if windows.is_denied(group)]
        disable = (SidAndAttributes * len(denied))(*(SidAndAttributes(sid, 0) for sid in denied))
        delete = [luid for name, luid in _privileges(own) if name not in windows.KEPT_PRIVILEGES]
        privileges = (LuidAndAttributes * len(delete))(*delete)
        made = ctypes.c_void_p()
        call(
            "CreateRestrictedToken",
            own.value,
            int(windows.TOKEN_FLAGS),
            *(len(denied), disable),
            *(len(delete), privileges),
            *(0, None),
            ctypes.byref(made),
        )
        token = Handle(made.value)
        low = sids.enter_context(_sid(windows.INTEGRITY))
        label = SidAndAttributes(low, _GROUP_INTEGRITY)
        size = ctypes.sizeof(label) + function("GetLengthSid")(low)
        call("SetTokenInformation", token.value, _INTEGRITY, ctypes.byref(label), size)
        _set_own_objects(token)
        return token


def _set_own_objects(token: Handle) -> None:
    """An administrator's token would give what it makes to a group that the restricted one may no longer use."""
    with _descriptor(windows.OWN_OBJECTS.format(user=_subject(token, _USER))) as descriptor:
        default = ctypes.c_void_p(_list_of(descriptor, "GetSecurityDescriptorDacl"))
        call("SetTokenInformation", token.value, _DEFAULT_DACL, ctypes.byref(default), ctypes.sizeof(default))


def own_facts() -> TokenFacts:
    """Of the calling process's own token."""
    with _own_token(_QUERY) as own:
        return facts(own)


def facts(token: Handle) -> TokenFacts:
    """What Windows says of this token. Raises OSError."""
    return TokenFacts(
        user=_subject(token, _USER),
        groups=frozenset(_groups(token)),
        privileges=frozenset(name for name, _ in _privileges(token)),
        integrity=int(_subject(token, _INTEGRITY).rpartition("-")[2]),
    )


def make_private_folder(path: Path) -> None:
    """A new folder for this user only, which a process at low integrity may write. Raises OSError."""
    user = own_facts().user
    with _descriptor(windows.PRIVATE_FOLDER.format(user=user)) as descriptor:
        attributes = SecurityAttributes(ctypes.sizeof(SecurityAttributes), descriptor, False)
        call("CreateDirectoryW", str(path), ctypes.byref(attributes))


def label_folder(path: Path, label: str) -> None:
    """Give a folder and all that is in it an integrity label; links are labelled themselves, not followed.

    Raises OSError.
    """
    with _descriptor(label) as descriptor:
        acl = _list_of(descriptor, "GetSecurityDescriptorSacl")
        for each in _tree(path):
            with _opened(each, _WRITE_OWNER) as handle:
                code = function("SetSecurityInfo")(
                    handle.value, _FILE_OBJECT, _LABEL_INFORMATION, None, None, None, acl
                )
            if code:
                fail("SetSecurityInfo", code)


def label_of(path: Path) -> str:
    """The integrity label that a file or folder itself has, in Windows' own notation; empty: none. Raises OSError."""
    descriptor, text = ctypes.c_void_p(), ctypes.c_void_p()
    with _opened(path, _READ_CONTROL) as handle:
        code = function("GetSecurityInfo")(
            *(handle.value, _FILE_OBJECT, _LABEL_INFORMATION, None, None, None, None, ctypes.byref(descriptor))
        )
    if code:
        fail("GetSecurityInfo", code)
    try:
        call(
            "ConvertSecurityDescriptorToStringSecurityDescriptorW",
            *(descriptor, _SDDL_REVISION, _LABEL_INFORMATION, ctypes.byref(text), None),
        )
        return ctypes.wstring_at(text.value or 0)
    finally:
        function("LocalFree")(text)
        function("LocalFree")(descriptor)


def _opened(path: Path, access: int) -> Handle:
    """A file, folder or link itself."""
    found = function("CreateFileW")(str(path), access, _SHARE_ALL, None, _OPEN_EXISTING, _ITSELF, None)
    if found == INVALID_HANDLE:
        fail(f"CreateFileW of {path}", last_error())
    return Handle(found)


def _tree(path: Path) -> Iterator[Path]:
    """The folder and everything below it, but nothing behind a link or junction."""
    yield path
    folders = [path]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                found = entry.stat(follow_symlinks=False)
                yield Path(entry.path)
                link = getattr(found, "st_file_attributes", 0) & _REPARSE_POINT
                if stat.S_ISDIR(found.st_mode) and not link:
                    folders.append(Path(entry.path))


@contextlib.contextmanager
def _own_token(access: int) -> Iterator[Handle]:
    token = ctypes.c_void_p()
    call("OpenProcessToken", function("GetCurrentProcess")(), access, ctypes.byref(token))
    with Handle(token.value) as handle:
        yield handle


@contextlib.contextmanager
def _sid(text: str) -> Iterator[int]:
    sid = ctypes.c_void_p()
    call("ConvertStringSidToSidW", text, ctypes.byref(sid))
    try:
        yield sid.value or 0
    finally:
        function("LocalFree")(sid)


@contextlib.contextmanager
def _descriptor(text: str) -> Iterator[int]:
    descriptor = ctypes.c_void_p()
    call("ConvertStringSecurityDescriptorToSecurityDescriptorW", text, _SDDL_REVISION, ctypes.byref(descriptor), None)
    try:
        yield descriptor.value or 0
    finally:
        function("LocalFree")(descriptor)


def _list_of(descriptor: int, which: str) -> int:
    """The access control list that `which` finds in a security descriptor; lives as long as that does."""
    present, defaulted, acl = ctypes.c_int(), ctypes.c_int(), ctypes.c_void_p()
    call(which, descriptor, ctypes.byref(present), ctypes.byref(acl), ctypes.byref(defaulted))
    return acl.value or 0


def _information(token: Handle, kind: int) -> "ctypes.Array[ctypes.c_char]":
    size = ctypes.c_uint32()
    if not function("GetTokenInformation")(token.value, kind, None, 0, ctypes.byref(size)):
        code = last_error()
        if code != INSUFFICIENT_BUFFER:
            fail("GetTokenInformation", code)
    buffer = ctypes.create_string_buffer(size.value)
    call("GetTokenInformation", token.value, kind, buffer, len(buffer), ctypes.byref(size))
    return buffer


def _subject(token: Handle, kind: int) -> str:
    """The one SID that this kind of information is."""
    buffer = _information(token, kind)  # the SID lies in it, behind the structure
    return _text(SidAndAttributes.from_buffer(buffer).sid)


def _groups(token: Handle) -> list[str]:
    buffer = _information(token, _GROUPS)
    count = ctypes.c_uint32.from_buffer(buffer).value
    groups = (SidAndAttributes * count).from_buffer(buffer, ctypes.sizeof(ctypes.c_void_p))
    return [_text(group.sid) for group in groups if group.attributes & _GROUP_ENABLED]


def _privileges(token: Handle) -> list[tuple[str, LuidAndAttributes]]:
    buffer = _information(token, _PRIVILEGES)
    count = ctypes.c_uint32.from_buffer(buffer).value
    privileges = (LuidAndAttributes * count).from_buffer_copy(buffer, ctypes.sizeof(ctypes.c_uint32))
    return [(_privilege_name(privilege), privilege) for privilege in privileges]


def _privilege_name(privilege: LuidAndAttributes) -> str:
    text, size = ctypes.create_unicode_buffer(128), ctypes.c_uint32(128)
    call("LookupPrivilegeNameW", None, ctypes.byref(privilege), text, ctypes.byref(size))
    return text.value


def _text(sid: int | None) -> str:
    """A SID as `S-1-…`."""
    text = ctypes.c_void_p()
    call("ConvertSidToStringSidW", sid, ctypes.byref(text))
    try:
        return ctypes.wstring_at(text.value or 0)
    finally:
        function("LocalFree")(text)
