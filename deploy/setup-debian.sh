#!/usr/bin/env bash
# Has this machine what Balise needs beside Python packages? Installs what is missing, and nothing on a second run.
#
#   deploy/setup-debian.sh [demo|test]           demo: what `make demo` needs; test (default): that and what the tests need
#   deploy/setup-debian.sh [demo|test] --check   only lists what is missing; exit status 1 if something is
set -euo pipefail

# package | what shows that it is there, from wherever it came | why
DEMO="
python3-venv    | ${PYTHON:-python3} -c 'import ensurepip, venv' | the virtual environment that holds the Python packages
ca-certificates | test -e /etc/ssl/certs/ca-certificates.crt     | the authorities that web measurements check certificates against
mosquitto       | command -v mosquitto                           | the MQTT broker, with its dynamic security plug-in
"
TEST="
fping           | command -v fping                               | the peer that ping times are compared with
strace          | command -v strace                              | tells what was written and synced, to rebuild the disk after a power cut
faketime        | command -v faketime                            | clocks that step, and a boot in 1970
postgresql      | ls /usr/lib/postgresql/*/bin/initdb            | the directory's other database
influxdb        | command -v influxd                             | the other store of measurements
victoria-metrics | command -v victoria-metrics                  | speaks InfluxDB 2's writing, which Debian's InfluxDB does not
npm             | command -v npm                                 | fetches the published schema that docs/asyncapi.yaml is checked with
e2fsprogs       | command -v mkfs.ext4                           | small file systems, to fill a disk
mount           | command -v losetup                             | mounts them
iproute2        | command -v ip                                  | network namespaces: several hosts on one machine
docker-compose  | test -e /usr/lib/python3/dist-packages/compose/config/compose_spec.json | holds the schema that deploy/compose.yaml is checked with
gcc             | command -v cc                                  | builds the relay that emulates delay, loss and rate of a line
libc6-dev       | test -e /usr/include/stdio.h                   | its headers
miniupnpd       | command -v miniupnpd                           | a real box, whose counters the gate reads
iperf3          | command -v iperf3                              | the peer that throughput is compared with
kamailio        | command -v kamailio                            | the registrar and proxy that test calls go through
sip-tester      | command -v sipp                                | answers test calls, and makes them, by script
baresip-core    | command -v baresip                             | a telephone that is not ours
sipsak          | command -v sipsak                              | the peer that SIP round trips are compared with
tshark          | command -v tshark                              | counts loss and jitter of voice and pictures on its own
ffmpeg          | command -v ffmpeg                              | encodes the transport streams that the analyser is tested with
"
# These start a server when they are installed. The demo and the tests start their own, on free ports with their own
# files, so the system's would only hold memory and the usual ports: they are neither started now nor at the next boot.
SERVERS="mosquitto postgresql influxdb victoria-metrics iperf3 kamailio miniupnpd"

# Echo requests without root (net/ipv4/ping.c in Linux): sockets are for the groups in this range, and the kernel's default,
# "1 0", is nobody. The whole range is what systemd's own defaults set; Debian 12 does not ship those.
PING_RANGE=/proc/sys/net/ipv4/ping_group_range
PING_CONF=/etc/sysctl.d/60-balise-ping.conf
PING_ALL="0 2147483647"

PATH=$PATH:/usr/sbin:/sbin # a Debian user's PATH has no programs of the administrator

main() {
    local set=test check=no
    for arg in "$@"; do
        case $arg in
            demo | test) set=$arg ;;
            --check) check=yes ;;
            *) echo "usage: $0 [demo|test] [--check]" >&2 && exit 2 ;;
        esac
    done
    missing=$(missing_packages "$set")
    if [[ $check == no ]] && ! ping_is_open && ping_is_fixed; then
        echo "No ping sockets: this container's ping_group_range is read-only; its host can set it to $PING_ALL"
    fi
    if [[ -z $missing ]] && { ping_is_open || ping_is_fixed; }; then exit 0; fi
    if [[ $check == yes ]]; then say_missing && exit 1; fi
    command -v apt-get >/dev/null || stop "This is not Debian; find its equivalents of:"
    become_root "$set"
    if [[ -n $missing ]]; then install_packages; fi
    ping_is_open || ping_is_fixed || open_ping
}

missing_packages() { # -> lines of "package | why"
    local table=$DEMO package shows why
    if [[ $1 == test ]]; then table+=$TEST; fi
    while IFS='|' read -r package shows why; do
        if [[ -n $package ]] && ! eval "$shows" >/dev/null 2>&1; then echo "$package|$why"; fi
    done <<<"$table"
}

ping_is_open() {
    local first last
    read -r first last <"$PING_RANGE" || return 0
    ((first == 0 && last >= 2147483647))
}

ping_is_fixed() { # a container's /proc/sys is often read-only, even to root
    awk '$2 == "/proc/sys" && $4 ~ /(^|,)ro(,|$)/ { found = 1 } END { exit !found }' /proc/self/mounts ||
        { [[ $EUID == 0 ]] && [[ ! -w $PING_RANGE ]]; }
}

say_missing() {
    while IFS='|' read -r package why; do
        if [[ -n $package ]]; then printf '  %-16s %s\n' "$package" "${why# }"; fi
    done <<<"$missing"
    if ! ping_is_open && ! ping_is_fixed; then printf '  %-16s %s\n' ping_group_range "ping without root: $PING_ALL in $PING_CONF"; fi
}

become_root() {
    if [[ $EUID == 0 ]]; then return; fi
    if command -v sudo >/dev/null && { sudo -n true 2>/dev/null || { [[ -t 0 ]] && sudo true; }; }; then
        exec sudo env "PATH=$PATH" "PYTHON=${PYTHON:-python3}" "$0" "$1"
    fi
    stop "Missing on this machine; as root, run  $(realpath "$0") $1  to add:"
}

stop() {
    echo "$1"
    say_missing
    exit 1
} >&2

install_packages() {
    local names
    names=$(cut -d'|' -f1 <<<"$missing" | xargs)
    echo "Installing Debian packages:"
    say_missing
    forbid_service_starts
    export DEBIAN_FRONTEND=noninteractive
    local apt=(apt-get -qq -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0)
    local log
    log=$(mktemp)
    # shellcheck disable=SC2086  # one word a package
    { "${apt[@]}" update && "${apt[@]}" install -y --no-install-recommends $names; } >"$log" 2>&1 ||
        { cat "$log" >&2 && rm "$log" && exit 1; }
    rm "$log"
    for name in $names; do
        if [[ " $SERVERS " == *" $name "* ]] && command -v systemctl >/dev/null; then
            systemctl disable --quiet "$name.service" 2>/dev/null || true # no unit, or no systemd at all: nothing starts it
        fi
    done
}

forbid_service_starts() { # Debian's own way: package scripts ask this program first, and 101 is "no"
    policy=/usr/sbin/policy-rc.d
    trap 'rm -f "$policy"; if [[ -e $policy.balise ]]; then mv "$policy.balise" "$policy"; fi' EXIT
    if [[ -e $policy ]]; then mv "$policy" "$policy.balise"; fi
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
}

open_ping() {
    echo "Opening ping sockets to every user: $PING_CONF"
    mkdir -p "${PING_CONF%/*}"
    printf '# Balise: echo requests without root, with times from the kernel.\nnet.ipv4.ping_group_range = %s\n' \
        "$PING_ALL" >"$PING_CONF"
    echo "$PING_ALL" >"$PING_RANGE" || echo "The kernel refused it for now: no ping sockets until the next boot"
}

main "$@"
