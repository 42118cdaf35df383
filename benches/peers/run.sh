#!/usr/bin/env bash
# CPU time per request of the proxy process, Snapback beside HAProxy and nginx, in interleaved rounds.
#
#   benches/peers/run.sh [rounds] [seconds]      (5 rounds of 4 seconds each)
#
# One proxy at a time is pinned to core 0; wrk and two model servers (nginx, `return 200`, 1 KiB) share core 1. 64 keep-alive
# connections send 600-byte POSTs; two upstream addresses share them 90 to 10. Snapback runs a real shift, so alarms, meters and
# health checks are on. CPU time is utime + stime of the proxy's process from /proc over the requests that wrk saw answered.
# Installs haproxy, nginx and wrk by apt when they are missing.
set -euo pipefail
cd "$(dirname "$0")/../.."

rounds=${1:-5}
seconds=${2:-4}
snapback=${SNAPBACK:-target/release/snapback}
peers=(haproxy nginx snapback)
connections=64

need() {
    local missing=()
    for tool in haproxy nginx wrk curl; do
        command -v "$tool" >/dev/null || missing+=("$tool")
    done
    if ((${#missing[@]})); then
        apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${missing[@]}"
    fi
    [ -x "$snapback" ] || cargo build --release
    if (($(nproc) < 2)); then
        echo "needs two cores: one for the proxy, one for the load" >&2
        exit 2
    fi
}

dir=$(mktemp -d)
pids=()
finish() {
    for pid in "${pids[@]}"; do
        kill "$pid" 2>/dev/null || true
    done
    wait 2>/dev/null || true
    rm -rf "$dir"
}
trap finish EXIT

# Distinct ports that are free now.
free_ports() {
    python3 - "$1" <<'PY'
import socket, sys
sockets = [socket.socket() for _ in range(int(sys.argv[1]))]
for s in sockets:
    s.bind(("127.0.0.1", 0))
print(*[s.getsockname()[1] for s in sockets])
PY
}

write_configs() {
    local body
    body=$(printf 'x%.0s' $(seq 1024))
    cat >"$dir/upstream.conf" <<EOF
daemon off; master_process off; worker_processes 1; error_log /dev/null crit; pid $dir/upstream.pid;
events { worker_connections 4096; }
http {
    access_log off; keepalive_requests 1000000000; keepalive_timeout 600s; client_body_temp_path $dir/body;
    server {
        listen 127.0.0.1:$blue; listen 127.0.0.1:$green;
        location / { return 200 "$body"; }
    }
}
EOF
    cat >"$dir/haproxy.cfg" <<EOF
global
    nbthread 1
    maxconn 4096
defaults
    mode http
    http-reuse always
    timeout connect 1s
    timeout client 60s
    timeout server 60s
frontend front
    bind 127.0.0.1:$haproxy_port
    default_backend models
backend models
    balance roundrobin
    server blue 127.0.0.1:$blue weight 90
    server green 127.0.0.1:$green weight 10
EOF
    cat >"$dir/nginx.conf" <<EOF
daemon off; master_process off; worker_processes 1; error_log /dev/null crit; pid $dir/nginx.pid;
events { worker_connections 4096; }
http {
    access_log off; keepalive_requests 1000000000; client_body_temp_path $dir/body;
    upstream models {
        server 127.0.0.1:$blue weight=9; server 127.0.0.1:$green weight=1;
        keepalive 256; keepalive_requests 1000000000;
    }
    server {
        listen 127.0.0.1:$nginx_port;
        location / { proxy_pass http://models; proxy_http_version 1.1; proxy_set_header Connection ""; }
    }
}
EOF
    cat >"$dir/snapback.toml" <<EOF
[data]
listen  = ["127.0.0.1:$snapback_port"]
workers = 1
[admin]
listen = "127.0.0.1:$admin_port"
[state]
path = "$dir/snapback.db"

[[endpoint]]
name  = "chat"
match = { path_prefix = "/v1/" }
blue  = { version = "v1", instances = ["127.0.0.1:$blue"] }
EOF
    cat >"$dir/plan.toml" <<EOF
green    = { version = "v2", instances = ["127.0.0.1:$green"] }
strategy = { type = "canary", share = "10%", bake = "2h", final_bake = "1s" }
execution_timeout = "3h"

[[guard]]
metric = "error_rate"
below  = "1%"
[[guard]]
metric   = "latency"
quantile = "p99"
below    = "250ms"
EOF
    cat >"$dir/load.lua" <<'EOF'
wrk.method = "POST"
wrk.path = "/v1/completions"
wrk.headers["content-type"] = "application/json"
wrk.body = string.rep("a", 600)
EOF
}

start() { # name, core, command...
    local name=$1 core=$2
    shift 2
    taskset -c "$core" "$@" >"$dir/$name.log" 2>&1 &
    pids+=($!)
    eval "${name}_pid=$!"
}

wait_for() { # port, name
    for _ in $(seq 100); do
        if curl -s -o /dev/null -X POST -d x "http://127.0.0.1:$1/v1/"; then return; fi
        sleep 0.1
    done
    echo "$2 does not answer:" >&2
    cat "$dir/$2.log" >&2
    exit 1
}

ticks() { # pid
    awk '{ sub(/.*\) /, ""); print $12 + $13 }' "/proc/$1/stat"
}

# Appends "cpu-microseconds-per-request requests-per-second p99-milliseconds errors" to the peer's samples.
round() { # peer
    local pid_of="${1}_pid" port_of="${1}_port" before after
    before=$(ticks "${!pid_of}")
    taskset -c 1 wrk -t1 -c$connections -d"${seconds}s" --latency -s "$dir/load.lua" \
        "http://127.0.0.1:${!port_of}/v1/completions" >"$dir/wrk.out"
    after=$(ticks "${!pid_of}")
    python3 - "$dir/wrk.out" $((after - before)) "$(getconf CLK_TCK)" >>"$dir/$1.samples" <<'PY'
import re, sys
text = open(sys.argv[1]).read()
requests, window = re.search(r"(\d+) requests in ([\d.]+)s", text).groups()
p99, unit = re.search(r"99%\s+([\d.]+)(us|ms|s)", text).groups()
bad = sum(map(int, re.findall(r"(?:Non-2xx or 3xx responses: |connect |read |write |timeout )(\d+)", text)))
cpu = int(sys.argv[2]) / int(sys.argv[3]) * 1e6 / int(requests)
print(cpu, int(requests) / float(window), float(p99) * {"us": 1e-3, "ms": 1, "s": 1e3}[unit], bad)
PY
}

need
read -r blue green haproxy_port nginx_port snapback_port admin_port <<<"$(free_ports 6)"
write_configs
start upstream 1 nginx -p "$dir" -c "$dir/upstream.conf"
wait_for "$blue" upstream
start haproxy 0 haproxy -db -f "$dir/haproxy.cfg"
start nginx 0 nginx -p "$dir" -c "$dir/nginx.conf"
start snapback 0 "$snapback" serve -c "$dir/snapback.toml"
for peer in "${peers[@]}"; do
    port_of="${peer}_port"
    wait_for "${!port_of}" "$peer"
done
if [ -z "${SKIP_SHIFT:-}" ]; then
    SNAPBACK_ADMIN="http://127.0.0.1:$admin_port" "$snapback" shift start chat "$dir/plan.toml" >"$dir/shift.log"
    sleep 3 # green's first health checks, and the step to 10 %
fi

for peer in "${peers[@]}"; do # connections and caches are warm before the first round counts
    round "$peer"
    rm "$dir/$peer.samples"
done
for ((n = 0; n < rounds; n++)); do
    for peer in "${peers[@]}"; do
        round "$peer"
    done
done

if [ -z "${SKIP_SHIFT:-}" ]; then
    # A shift that was rolled back meanwhile would have been measured without its alarms and with all requests on one server.
    SNAPBACK_ADMIN="http://127.0.0.1:$admin_port" "$snapback" shift status chat --output json >"$dir/status.json"
    python3 - "$dir/status.json" <<'PY'
import json, sys
shift = json.load(open(sys.argv[1]))
got = shift["share_got"] or 0
if shift["state"] != "baking" or abs(got - 0.1) > 0.001:
    sys.exit(f"the shift did not stay at 10%: {shift['state']}, green got {got:.2%}")
PY
fi

echo "$(date -u +%F), $(nproc) cores, $rounds rounds of ${seconds}s, $connections connections, 600 B in, 1 KiB out, 90/10"
python3 - "$dir" "${peers[@]}" <<'PY'
import statistics, sys
def samples(peer):
    return [list(map(float, line.split())) for line in open(f"{sys.argv[1]}/{peer}.samples")]
peers = {peer: samples(peer) for peer in sys.argv[2:]}
print(f"{'proxy':<10}{'CPU us/request':>16}{'ratio':>8}{'requests/s':>12}{'p99 ms':>9}{'errors':>8}")
for peer, rows in peers.items():
    # The ratio is taken within each round, since a noisy neighbour touches all of a round alike.
    ratio = statistics.median(row[0] / base[0] for row, base in zip(rows, peers["haproxy"]))
    cpu, rate, p99 = (statistics.median(row[i] for row in rows) for i in range(3))
    print(f"{peer:<10}{cpu:>16.2f}{ratio:>8.2f}{rate:>12.0f}{p99:>9.2f}{sum(row[3] for row in rows):>8.0f}")
PY
