"""Requests that cannot be read at all: they are told so as problems, and heard out before they are hung up on."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from executions.ids import new_id
from executions.server import problems

#: Bytes of a request's address and headers: a long query and a long cursor fit.
LONGEST_HEAD: Final = 256 * 1024

#: Seconds that a refused request may go on being sent before it is hung up on.
_HEARD_OUT_S = 2.0


class HeadProtocol(H11Protocol):
    """uvicorn's protocol, but for what it refuses by itself.

    A connection that is closed while the client still sends is reset by the system, and the answer with it: the
    client would see a broken connection, and try again. So the rest is read, and thrown away, for a while.
    """

    _is_refused = False

    def data_received(self, data: bytes) -> None:
        if not self._is_refused:
            super().data_received(data)

    def send_400_response(self, msg: str) -> None:
        slug, detail = "malformed", msg
        if len(self.conn.trailing_data[0]) > LONGEST_HEAD:
            slug, detail = "head-too-large", f"the address and the headers are larger than {LONGEST_HEAD} bytes"
        kind = problems.KINDS[slug]
        prefix = getattr(self.config.app, "root_path", "")
        document = {
            "type": f"{prefix}/problems/{slug}", "title": kind.title, "status": kind.status, "detail": detail,
            "instance": new_id(),
        }  # fmt: skip
        self._refuse(kind.status, json.dumps(document).encode())

    def _refuse(self, status: int, body: bytes) -> None:
        headers = [
            (b"content-type", problems.MEDIA_TYPE.encode()), (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
        ]  # fmt: skip
        head = h11.Response(status_code=status, headers=headers, reason=HTTPStatus(status).phrase.encode())
        for event in (head, h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self._is_refused = True
        self.transport.write_eof()
        self.loop.call_later(_HEARD_OUT_S, self.transport.close)
