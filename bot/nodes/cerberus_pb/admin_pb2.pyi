from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class LockKeyRequest(_message.Message):
    __slots__ = ("public_key_g1",)
    PUBLIC_KEY_G1_FIELD_NUMBER: _ClassVar[int]
    public_key_g1: str
    def __init__(self, public_key_g1: _Optional[str] = ...) -> None: ...

class LockKeyResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class UnlockKeyRequest(_message.Message):
    __slots__ = ("public_key_g1",)
    PUBLIC_KEY_G1_FIELD_NUMBER: _ClassVar[int]
    public_key_g1: str
    def __init__(self, public_key_g1: _Optional[str] = ...) -> None: ...

class UnlockKeyResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GenerateNewApiKeyRequest(_message.Message):
    __slots__ = ("public_key_g1",)
    PUBLIC_KEY_G1_FIELD_NUMBER: _ClassVar[int]
    public_key_g1: str
    def __init__(self, public_key_g1: _Optional[str] = ...) -> None: ...

class GenerateNewApiKeyResponse(_message.Message):
    __slots__ = ("public_key_g1", "api_key")
    PUBLIC_KEY_G1_FIELD_NUMBER: _ClassVar[int]
    API_KEY_FIELD_NUMBER: _ClassVar[int]
    public_key_g1: str
    api_key: str
    def __init__(self, public_key_g1: _Optional[str] = ..., api_key: _Optional[str] = ...) -> None: ...

class KeyMetadata(_message.Message):
    __slots__ = ("public_key_g1", "public_key_g2", "locked", "created_at", "updated_at")
    PUBLIC_KEY_G1_FIELD_NUMBER: _ClassVar[int]
    PUBLIC_KEY_G2_FIELD_NUMBER: _ClassVar[int]
    LOCKED_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    UPDATED_AT_FIELD_NUMBER: _ClassVar[int]
    public_key_g1: str
    public_key_g2: str
    locked: bool
    created_at: str
    updated_at: str
    def __init__(self, public_key_g1: _Optional[str] = ..., public_key_g2: _Optional[str] = ..., locked: _Optional[bool] = ..., created_at: _Optional[str] = ..., updated_at: _Optional[str] = ...) -> None: ...

class ListAllKeysRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListAllKeysResponse(_message.Message):
    __slots__ = ("keys",)
    KEYS_FIELD_NUMBER: _ClassVar[int]
    keys: _containers.RepeatedCompositeFieldContainer[KeyMetadata]
    def __init__(self, keys: _Optional[_Iterable[_Union[KeyMetadata, _Mapping]]] = ...) -> None: ...
