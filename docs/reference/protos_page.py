"""Renders the contracts between the services, from the protos and their comments."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    ServiceDescriptorProto,
)
from grpc_tools import protoc
from markdown import code, escape, table

_SOURCES = Path(__file__).parents[2] / "protos"
_INTRODUCTION = """# Protos

The services call each other with these gRPC messages. `protos/` contains the sources. `make protos` generates the Python code. The messages of etcd's own interface (`tiermesh.etcd.v1`) are not listed here, because etcd documents them.

"""  # noqa: E501 - a paragraph of Markdown is one line.
_ORDER = (
    "common/v1/error",
    "common/v1/trace",
    "auth/v1/auth",
    "auth/v1/sign_in",
    "auth/v1/operators",
    "billing/v1/billing",
    "billing/v1/deposits",
    "billing/v1/sweeps",
    "billing/v1/wallet_payments",
    "billing/v1/payouts",
    "router/v1/router",
    "runner/v1/runner",
    "payments/v1/payments",
    "payments/v1/x402",
)

_Path = tuple[int, ...]
_Comments = dict[_Path, str]


def protos_page() -> str:
    """Returns the page; raises ValueError for an rpc, message or field without a comment."""
    files = {file.name: file for file in _descriptors().file}
    names = [f"tiermesh/{name}.proto" for name in _ORDER]
    if unknown := {name for name in files if not name.startswith("tiermesh/etcd/")} ^ set(names):
        raise ValueError(f"protos_page.py does not list exactly the protos that exist: {', '.join(sorted(unknown))}")
    return _INTRODUCTION + "\n".join("".join(_file(files[name])) for name in names).rstrip("\n") + "\n"


def _descriptors() -> FileDescriptorSet:
    with tempfile.TemporaryDirectory() as directory:
        output = Path(directory) / "descriptors"
        arguments = ["protoc", f"-I{_SOURCES}", "--include_source_info", f"--descriptor_set_out={output}"]
        if status := protoc.main([*arguments, *map(str, sorted(_SOURCES.rglob("*.proto")))]):
            raise SystemExit(status)
        return FileDescriptorSet.FromString(output.read_bytes())


def _file(file: FileDescriptorProto) -> Iterator[str]:
    comments = {
        tuple(location.path): " ".join(location.leading_comments.split())
        for location in file.source_code_info.location
        if location.leading_comments
    }
    yield f"## {file.package}: {Path(file.name).name}\n\n"
    for number, service in enumerate(file.service):
        yield from _service(service, (FileDescriptorProto.SERVICE_FIELD_NUMBER, number), comments)
    for number, message in enumerate(file.message_type):
        yield from _message(message, message.name, (FileDescriptorProto.MESSAGE_TYPE_FIELD_NUMBER, number), comments)
    for number, enum in enumerate(file.enum_type):
        yield from _enum(enum, enum.name, (FileDescriptorProto.ENUM_TYPE_FIELD_NUMBER, number), comments)


def _service(service: ServiceDescriptorProto, path: _Path, comments: _Comments) -> Iterator[str]:
    rows = []
    for number, method in enumerate(service.method):
        request = ("stream " if method.client_streaming else "") + _short(method.input_type)
        response = ("stream " if method.server_streaming else "") + _short(method.output_type)
        place = (*path, ServiceDescriptorProto.METHOD_FIELD_NUMBER, number)
        rows.append((code(method.name), code(request), code(response), _comment(method.name, place, comments)))
    yield f"### {service.name}\n\n{_comment(service.name, path, comments)}\n\n"
    yield table(("rpc", "request", "response", "meaning"), rows)


def _message(message: DescriptorProto, name: str, path: _Path, comments: _Comments) -> Iterator[str]:
    yield f"### {name}\n\n{_comment(name, path, comments)}\n\n"
    rows = []
    for number, field in enumerate(message.field):
        place = (*path, DescriptorProto.FIELD_FIELD_NUMBER, number)
        meaning = _comment(f"{name}.{field.name}", place, comments)
        if field.HasField("oneof_index") and not field.proto3_optional:
            meaning += f" One of `{message.oneof_decl[field.oneof_index].name}`."
        rows.append((str(field.number), code(field.name), code(_type(message, field)), meaning))
    if rows:
        yield table(("number", "field", "type", "meaning"), rows)
    for number, enum in enumerate(message.enum_type):
        place = (*path, DescriptorProto.ENUM_TYPE_FIELD_NUMBER, number)
        yield from _enum(enum, f"{name}.{enum.name}", place, comments)
    for number, nested in enumerate(message.nested_type):
        if not nested.options.map_entry:
            place = (*path, DescriptorProto.NESTED_TYPE_FIELD_NUMBER, number)
            yield from _message(nested, f"{name}.{nested.name}", place, comments)


def _enum(enum: EnumDescriptorProto, name: str, path: _Path, comments: _Comments) -> Iterator[str]:
    rows = []
    for number, value in enumerate(enum.value):
        place = (*path, EnumDescriptorProto.VALUE_FIELD_NUMBER, number)
        rows.append((str(value.number), code(value.name), _comment(value.name, place, comments)))
    yield f"### {name}\n\n{_comment(name, path, comments)}\n\n"
    yield table(("number", "value", "meaning"), rows)


def _comment(name: str, path: _Path, comments: _Comments) -> str:
    if path not in comments:
        raise ValueError(f"{name} has no comment above it in protos/; describe it")
    return escape(comments[path])


def _type(message: DescriptorProto, field: FieldDescriptorProto) -> str:
    if field.type_name:
        entries = {nested.name: nested for nested in message.nested_type if nested.options.map_entry}
        if entry := entries.get(_short(field.type_name).rpartition(".")[2]):
            return f"map<{_type(message, entry.field[0])}, {_type(message, entry.field[1])}>"
        name = _short(field.type_name)
    else:
        name = FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()
    if field.label == FieldDescriptorProto.LABEL_REPEATED:
        return f"repeated {name}"
    return f"optional {name}" if field.proto3_optional else name


def _short(type_name: str) -> str:
    """Returns the name of a type without its package."""
    return type_name.partition(".v1.")[2]
