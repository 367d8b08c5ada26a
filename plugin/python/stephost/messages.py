"""The protocol's messages, made from its descriptor at import.

Generated modules belong to one version of Protocol Buffers, and what a system
has installed is often another. The descriptor, which `make generate` writes
from plugin.proto, is the same for all of them.
"""

import pathlib

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_PACKAGE = "stephost.plugin.v1"
SERVICE = f"{_PACKAGE}.PluginService"


def _load():
    path = pathlib.Path(__file__).with_name("protocol.binpb")
    files = descriptor_pb2.FileDescriptorSet.FromString(path.read_bytes())
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.Add(file)
    return pool


_pool = _load()
# Newer versions of the library have a function, older ones a factory.
_class_of = getattr(message_factory, "GetMessageClass", None) or message_factory.MessageFactory(_pool).GetPrototype


def _message(name):
    return _class_of(_pool.FindMessageTypeByName(f"{_PACKAGE}.{name}"))


DescribeRequest = _message("DescribeRequest")
DescribeResponse = _message("DescribeResponse")
ConfigureRequest = _message("ConfigureRequest")
ConfigureResponse = _message("ConfigureResponse")
SetLogLevelRequest = _message("SetLogLevelRequest")
SetLogLevelResponse = _message("SetLogLevelResponse")
ExecuteRequest = _message("ExecuteRequest")
ExecuteResponse = _message("ExecuteResponse")
Result = _message("Result")
Emit = _message("Emit")
Heartbeat = _message("Heartbeat")
ConfigBlock = _message("ConfigBlock")
Diagnostic = _message("Diagnostic")
PathStep = _message("PathStep")


def number(enum, name):
    """Returns the number of an enum's value."""
    return _pool.FindEnumTypeByName(f"{_PACKAGE}.{enum}").values_by_name[name].number
