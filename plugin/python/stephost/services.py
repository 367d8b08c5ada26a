"""The gRPC services that a host calls."""

import grpc

from . import log, messages
from .stream import Stream


def add_services(server, plugin, on_shutdown):
    """Registers them. on_shutdown is called once the host asks to end."""

    def describe(_request, _call):
        return plugin.description

    def configure(request, call):
        diagnostics = plugin.configure(request.config, request.log_level)
        if diagnostics is None:
            call.abort(grpc.StatusCode.FAILED_PRECONDITION, "plugin is configured already")
        return messages.ConfigureResponse(diagnostics=diagnostics)

    def execute(requests, call):
        if not plugin.ready:
            call.abort(grpc.StatusCode.FAILED_PRECONDITION, "plugin is not configured")
        return Stream(plugin).serve(requests, call)

    def set_log_level(request, _call):
        log.set_level(request.log_level)
        return messages.SetLogLevelResponse()

    def shutdown(_request, _call):
        on_shutdown()
        return b""

    server.add_generic_rpc_handlers((
        grpc.method_handlers_generic_handler(messages.SERVICE, {
            "Describe": _unary(describe, messages.DescribeRequest),
            "Configure": _unary(configure, messages.ConfigureRequest),
            "SetLogLevel": _unary(set_log_level, messages.SetLogLevelRequest),
            "Execute": grpc.stream_stream_rpc_method_handler(
                execute, messages.ExecuteRequest.FromString, _serialize),
        }),
        # Without a request deserializer a message stays bytes. The answers are
        # SERVING in field 1, and nothing.
        grpc.method_handlers_generic_handler("grpc.health.v1.Health", {
            "Check": grpc.unary_unary_rpc_method_handler(lambda _request, _call: b"\x08\x01"),
        }),
        grpc.method_handlers_generic_handler("plugin.GRPCController", {
            "Shutdown": grpc.unary_unary_rpc_method_handler(shutdown),
        }),
    ))


def _unary(method, request):
    return grpc.unary_unary_rpc_method_handler(method, request.FromString, _serialize)


def _serialize(message):
    return message.SerializeToString()
