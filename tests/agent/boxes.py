"""A box that speaks UPnP IGD, written by hand: as good or as hostile as a test wants it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

COMMON = "urn:schemas-upnp-org:service:WANCommonInterfaceConfig:1"
CONNECTION = "urn:schemas-upnp-org:service:WANIPConnection:1"
DESCRIPTION = """<?xml version="1.0"?><root xmlns="urn:schemas-upnp-org:device-1-0"><device>
<deviceType>urn:schemas-upnp-org:device:InternetGatewayDevice:1</deviceType><serviceList><service>
<serviceType>urn:schemas-upnp-org:service:Layer3Forwarding:1</serviceType><controlURL>/ctl/L3F</controlURL></service>
</serviceList><deviceList><device><serviceList><service><serviceType>{common}</serviceType>
<controlURL>{common_url}</controlURL></service><service><serviceType>{connection}</serviceType>
<controlURL>/ctl/IPConn</controlURL></service></serviceList></device></deviceList></device></root>"""


@dataclass(slots=True)
class Box:
    """``says``: what each SOAP value is now, by name; ``answer``: the whole answer to an HTTP request, if not that."""

    says: dict[str, str] = field(
        default_factory=lambda: {
            "NewTotalBytesReceived": "1000",
            "NewTotalBytesSent": "500",
            "NewPhysicalLinkStatus": "Up",
            "NewConnectionStatus": "Connected",
            "NewUptime": "3600",
        }
    )
    answer: Callable[[bytes], bytes | None] = lambda _: None
    location: str = "http://127.0.0.1:{port}/root.xml"
    common_url: str = "/ctl/CmnIfCfg"
    ssdp_port: int = 0
    http_port: int = 0
    requests: list[bytes] = field(default_factory=list)

    def description(self) -> str:
        return DESCRIPTION.format(common=COMMON, connection=CONNECTION, common_url=self.common_url)

    def reply(self, request: bytes) -> bytes:
        """To one HTTP request."""
        own = self.answer(request)
        if own is not None:
            return own
        if request.startswith(b"GET"):
            return ok(self.description())
        values = "".join(f"<{name}>{value}</{name}>" for name, value in self.says.items())
        envelope = '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><u:R xmlns:u="x">'
        return ok(f'<?xml version="1.0"?>{envelope}{values}</u:R></s:Body></s:Envelope>')


def ok(body: str) -> bytes:
    """A whole 200."""
    data = body.encode()
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(data) + data


@contextmanager
def running(box: Box) -> Iterator[Box]:
    """The box on loopback, on ports of the kernel's choice."""
    ssdp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    ssdp.bind(("127.0.0.1", 0))
    http = socket.create_server(("127.0.0.1", 0))
    box.ssdp_port, box.http_port = ssdp.getsockname()[1], http.getsockname()[1]
    works = [threading.Thread(target=work, args=(sock, box)) for work, sock in ((_search, ssdp), (_serve, http))]
    for thread in works:
        thread.start()
    try:
        yield box
    finally:
        ssdp.sendto(b"end", ssdp.getsockname())
        with suppress(OSError), socket.create_connection(http.getsockname()) as last:
            last.sendall(b"end")
        for thread in works:
            thread.join()
        ssdp.close()
        http.close()


def _search(sock: socket.socket, box: Box) -> None:
    while True:
        asked, source = sock.recvfrom(2048)
        if asked == b"end":
            return
        if asked.startswith(b"M-SEARCH"):
            location = box.location.format(port=box.http_port)
            sock.sendto(f"HTTP/1.1 200 OK\r\nST: x\r\nLOCATION: {location}\r\n\r\n".encode(), source)


def _serve(listener: socket.socket, box: Box) -> None:
    while True:
        peer, _ = listener.accept()
        with peer:
            request = _request(peer)
            if request == b"end":
                return
            box.requests.append(request)
            with suppress(OSError):
                peer.sendall(box.reply(request))


def _request(peer: socket.socket) -> bytes:
    data = b""
    peer.settimeout(10)
    with suppress(OSError):
        while b"\r\n\r\n" not in data and data != b"end":
            more = peer.recv(4096)
            if not more:
                return data
            data += more
        head, _, body = data.partition(b"\r\n\r\n")
        length = next(
            (int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")), 0
        )
        while len(body) < length and (more := peer.recv(4096)):
            body += more
            data += more
    return data
