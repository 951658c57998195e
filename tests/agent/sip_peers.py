"""Kamailio, sipp and baresip as programs on this machine's loopback, each once it answers."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.waiting import free_port

MODULES = "/usr/lib/x86_64-linux-gnu/kamailio/modules/"
BARESIP_MODULES = "/usr/lib/baresip/modules"
PASSWORD = "correct-horse"
READY_S = 60.0

KAMAILIO = """
debug=-1
log_stderror=yes
fork=yes
children=1
tcp_children=1
auto_aliases=no
listen=udp:127.0.0.1:{port}
listen=tcp:127.0.0.1:{port}
mpath="{modules}"
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "maxfwd.so"
loadmodule "textops.so"
loadmodule "siputils.so"
loadmodule "usrloc.so"
loadmodule "registrar.so"
loadmodule "auth.so"
modparam("auth", "algorithm", "{algorithm}")
modparam("rr", "enable_double_rr", 1)
modparam("registrar", "max_expires", 300)
request_route {{
    if (!mf_process_maxfwd_header("10")) {{ sl_send_reply("483", "Too Many Hops"); exit; }}
    if (has_totag()) {{
        if (loose_route()) {{ t_relay(); exit; }}
        if (is_method("ACK")) {{ if (t_check_trans()) t_relay(); exit; }}
        sl_send_reply("404", "Not Here");
        exit;
    }}
    if (is_method("CANCEL")) {{ if (t_check_trans()) t_relay(); exit; }}
    t_check_trans();
    if (is_method("OPTIONS")) {{ sl_send_reply("200", "Keepalive"); exit; }}
    if (is_method("REGISTER")) {{
        if (!pv_www_authenticate("$td", "{password}", "0")) {{ www_challenge("$td", "1"); exit; }}
        save("location");
        exit;
    }}
    if (!pv_proxy_authenticate("$fd", "{password}", "0")) {{ proxy_challenge("$fd", "1"); exit; }}
    consume_credentials();
    record_route();
    if ($rU == "1234") {{ $du = "sip:127.0.0.1:{uas}"; t_relay(); exit; }}
    if (!lookup("location")) {{ sl_send_reply("404", "Not Found"); exit; }}
    t_relay();
}}
"""

UAS = """<?xml version="1.0" encoding="ISO-8859-1" ?>
<!DOCTYPE scenario SYSTEM "sipp.dtd">
<scenario name="uas">
  <recv request="INVITE" crlf="true"/>
  <pause milliseconds="{ring_ms}"/>
  <send><![CDATA[
SIP/2.0 180 Ringing
[last_Via:]
[last_Record-Route:]
[last_From:]
[last_To:];tag=[pid]SIPpTag01[call_number]
[last_Call-ID:]
[last_CSeq:]
Contact: <sip:[local_ip]:[local_port];transport=[transport]>
Content-Length: 0

]]></send>
  <pause milliseconds="{answer_ms}"/>
  <send retrans="500"><![CDATA[
SIP/2.0 200 OK
[last_Via:]
[last_Record-Route:]
[last_From:]
[last_To:];tag=[pid]SIPpTag01[call_number]
[last_Call-ID:]
[last_CSeq:]
Contact: <sip:[local_ip]:[local_port];transport=[transport]>
Content-Type: application/sdp
Content-Length: [len]

v=0
o=user1 53655765 2353687637 IN IP[local_ip_type] [local_ip]
s=-
c=IN IP[media_ip_type] [media_ip]
t=0 0
m=audio [media_port] RTP/AVP 8
a=rtpmap:8 PCMA/8000

]]></send>
  <recv request="ACK" crlf="true"/>
  <recv request="BYE"/>
  <send><![CDATA[
SIP/2.0 200 OK
[last_Via:]
[last_From:]
[last_To:]
[last_Call-ID:]
[last_CSeq:]
Content-Length: 0

]]></send>
</scenario>
"""

REFUSING = """<?xml version="1.0" encoding="ISO-8859-1" ?>
<!DOCTYPE scenario SYSTEM "sipp.dtd">
<scenario name="refusing">
  <recv request="INVITE" crlf="true"/>
  <send><![CDATA[
SIP/2.0 {code} Refused
[last_Via:]
[last_From:]
[last_To:];tag=[pid]SIPpTag01[call_number]
[last_Call-ID:]
[last_CSeq:]
{extra}Content-Length: 0

]]></send>
  <recv request="ACK"/>
</scenario>
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """A kamailio: its port, and the port that the number 1234 leads to."""

    port: int
    uas: int


@contextmanager
def kamailio(folder: Path, algorithm: str = "MD5") -> Iterator[Proxy]:
    """Registrar and proxy with Record-Route, over UDP and TCP."""
    proxy = Proxy(port=free_port(), uas=free_port(socket.SOCK_DGRAM))
    config = folder / "kamailio.cfg"
    given = {"port": proxy.port, "uas": proxy.uas, "password": PASSWORD, "modules": MODULES}
    config.write_text(KAMAILIO.format(**given, algorithm=algorithm if algorithm != "MD5" else ""))
    if algorithm == "MD5":
        config.write_text(config.read_text().replace('modparam("auth", "algorithm", "")\n', ""))
    command = ["kamailio", "-f", str(config), "-DD", "-E", "-m", "16", "-M", "4", "-Y", str(folder), "-w", str(folder)]
    with program(command, folder / "kamailio.log"):
        wait_for(lambda: answers_options(proxy.port), folder / "kamailio.log")
        yield proxy


@contextmanager
def sipp(folder: Path, scenario: str, port: int, *, transport: str = "u1", calls: int = 0) -> Iterator[Path]:
    """A scenario of sipp that answers on that port, echoing voice; yields its message log."""
    file, log = folder / f"scenario-{port}.xml", folder / f"messages-{port}.log"
    file.write_text(scenario)
    media = free_port(socket.SOCK_DGRAM)
    command = ["sipp", "-sf", str(file), "-i", "127.0.0.1", "-p", str(port), "-mi", "127.0.0.1", "-mp", str(media)]
    command += ["-rtp_echo", "-t", transport, "-nostdin", "-trace_msg", "-message_file", str(log)]
    command += ["-m", str(calls)] if calls else []
    kind = socket.SOCK_DGRAM if transport.startswith("u") else socket.SOCK_STREAM
    with program(command, folder / f"sipp-{port}.log"):
        wait_for(lambda: is_taken(port, kind), folder / f"sipp-{port}.log")
        yield log


@contextmanager
def baresip(folder: Path, registrar: int, user: str) -> Iterator[Path]:
    """Registered there, it answers each call with a tone of its own; yields its log."""
    home, log = folder / "baresip", folder / "baresip.log"
    home.mkdir()
    modules = ["g711.so", "aubridge.so", "account.so", "menu.so"]
    lines = ["sip_listen 127.0.0.1:0", "audio_player aubridge,loop", "audio_source aubridge,loop", "rtp_stats yes"]
    lines += [f"module_path {BARESIP_MODULES}", "net_interface 127.0.0.1"]
    lines += [f"module{'_app' if name[:4] in ('acco', 'menu') else ''} {name}" for name in modules]
    (home / "config").write_text("\n".join(lines) + "\n")
    account = f"<sip:{user}@127.0.0.1:{registrar};transport=udp>;auth_user={user};auth_pass={PASSWORD}"
    (home / "accounts").write_text(f"{account};answermode=auto;regint=60;audio_codecs=pcma\n")
    (home / "contacts").write_text("")
    with program(["baresip", "-f", str(home)], log):
        wait_for(lambda: b"200 OK" in log.read_bytes(), log)
        yield log


def uas(ring_ms: int = 0, answer_ms: int = 0) -> str:
    """Rings after that long, answers that much later."""
    return UAS.replace("{ring_ms}", str(ring_ms)).replace("{answer_ms}", str(answer_ms))


def refusing(code: int, extra: str = "") -> str:
    """Answers with that code at once."""
    return REFUSING.replace("{code}", str(code)).replace("{extra}", extra)


@contextmanager
def program(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Ended by its own id."""
    assert shutil.which(command[0]), f"{command[0]} is missing: deploy/setup-debian.sh"
    with log.open("wb") as output:
        running = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        try:
            yield running
        finally:
            if command[0] != "sipp":  # it would wait for its calls
                running.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    running.wait(10)
            running.kill()
            running.wait()


def wait_for(ready: Callable[[], bool], log: Path) -> None:
    """Until it is so; what the program said, where it never is."""
    end_s = time.monotonic() + READY_S
    while not ready():
        assert time.monotonic() < end_s, log.read_text(errors="replace")[-2_000:]
        time.sleep(0.02)


def is_taken(port: int, kind: socket.SocketKind) -> bool:
    """Whether somebody has the port."""
    with socket.socket(socket.AF_INET, kind) as sock:
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return True
        return False


def answers_options(port: int) -> bool:
    """Whether SIP is answered there."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(("127.0.0.1", port))
        sock.settimeout(0.2)
        here = sock.getsockname()[1]
        lines = ["OPTIONS sip:127.0.0.1 SIP/2.0", f"Via: SIP/2.0/UDP 127.0.0.1:{here};branch=z9hG4bKready{here}"]
        lines += ["Max-Forwards: 70", "From: <sip:t@127.0.0.1>;tag=1", "To: <sip:127.0.0.1>", f"Call-ID: ready{here}"]
        lines += ["CSeq: 1 OPTIONS", "Content-Length: 0", "", ""]
        try:
            sock.send("\r\n".join(lines).encode())
            return sock.recv(4_096).startswith(b"SIP/2.0 200")
        except OSError:
            return False
