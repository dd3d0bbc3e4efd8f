"""The bad weather between a client and the chain: a WSGI layer that the faults work on."""

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from werkzeug.wrappers import Response

from devnet.chain.faults import CONNECTION_FAULTS, ConnectionCutError, Fault, Faults

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_GARBAGE = "<!DOCTYPE html><html><head><title>Welcome</title></head><body>502</body></html>\n"
_SUFFICIENT = tuple(kind for kind in CONNECTION_FAULTS if kind != "delay")


class Weather:
    """Wraps an application; the control port stays in the sun."""

    def __init__(self, application: "WSGIApplication", faults: Faults) -> None:
        self._application = application
        self._faults = faults

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Answer a request, or fail it the way that the fault in force wants."""
        method, path = environ["REQUEST_METHOD"], environ.get("PATH_INFO", "")
        if path.startswith("/control"):
            return self._application(environ, start_response)
        delay = self._faults.take(("delay",), method, path)
        if delay is not None:
            time.sleep(delay.seconds)
        fault = self._faults.take(_SUFFICIENT, method, path)
        if fault is None:
            return self._application(environ, start_response)
        return self._fail(fault, environ, start_response)

    def _fail(
        self, fault: Fault, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        if fault.kind == "cut_after":
            Response.from_app(self._application, environ)
        if fault.kind in ("cut_before", "cut_after"):
            raise ConnectionCutError
        if fault.kind == "garbage":
            return Response(_GARBAGE, 200, mimetype="text/html")(environ, start_response)
        return _refusal(fault)(environ, start_response)


def _refusal(fault: Fault) -> Response:
    headers = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
    response = Response(status=fault.status, headers=headers, mimetype="text/plain")
    response.set_data(response.status.partition(" ")[2])
    return response
