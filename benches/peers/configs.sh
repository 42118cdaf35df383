# The peers' configurations for run.sh, all for the same work: two upstream addresses at 90 to 10, connections kept on both sides, no access
# log. Reads the ports, $dir, $threads, $protocol (h1 or h2c, on both sides) and $prefix, the start of the path that is asked for.

write_configs() {
    upstream_conf >"$dir/upstream.conf"
    haproxy_conf >"$dir/haproxy.conf"
    nginx_conf >"$dir/nginx.conf"
    envoy_conf >"$dir/envoy.yaml"
    snapback_conf >"$dir/snapback.toml"
    snapback_plan >"$dir/plan.toml"
    wrk_script >"$dir/load.lua"
}

# Two model servers on one nginx that answer at once. In h2c mode what it says is gRPC as far as a proxy sees: the type and the trailer.
upstream_conf() {
    local listen='' answer='' body
    body=$(printf 'x%.0s' $(seq 1024))
    if [ "$protocol" = h2c ]; then
        listen=' http2' answer='default_type application/grpc; add_trailer grpc-status 0 always;'
    fi
    cat <<EOF
daemon off; master_process off; worker_processes 1; error_log /dev/null crit; pid $dir/upstream.pid;
events { worker_connections 8192; }
http {
    access_log off; keepalive_requests 1000000000; keepalive_timeout 600s; client_body_temp_path $dir/body; $answer
    http2_max_concurrent_streams 1000;
    server {
        listen 127.0.0.1:$blue$listen; listen 127.0.0.1:$green$listen;
        location / { return 200 "$body"; }
    }
}
EOF
}

haproxy_conf() {
    local proto='' delay=''
    [ "$protocol" = h2c ] && proto=' proto h2'
    # Without this HAProxy lets the kernel hold each event back (MSG_MORE) for up to 200 ms, to send several in one packet.
    [ "$mode" = sse ] && [ -z "${HAPROXY_HOLDS:-}" ] && delay='option http-no-delay'
    cat <<EOF
global
    nbthread $threads
    maxconn 8192
defaults
    mode http
    $delay
    http-reuse always
    timeout connect 1s
    timeout client 60s
    timeout server 60s
frontend front
    bind 127.0.0.1:$haproxy_port$proto
    default_backend models
backend models
    balance roundrobin
    server blue 127.0.0.1:$blue weight 90$proto
    server green 127.0.0.1:$green weight 10$proto
EOF
}

nginx_conf() {
    local listen='' pass='proxy_pass http://models; proxy_http_version 1.1; proxy_set_header Connection "";'
    [ "$protocol" = h2c ] && listen=' http2' pass='grpc_pass grpc://models;'
    cat <<EOF
daemon off; master_process off; worker_processes 1; error_log /dev/null crit; pid $dir/nginx.pid;
events { worker_connections 8192; }
http {
    access_log off; keepalive_requests 1000000000; client_body_temp_path $dir/body;
    upstream models {
        server 127.0.0.1:$blue weight=9; server 127.0.0.1:$green weight=1;
        keepalive 256; keepalive_requests 1000000000;
    }
    server {
        listen 127.0.0.1:$nginx_port$listen;
        location / { $pass }
    }
}
EOF
}

envoy_conf() {
    local upstream='http_protocol_options: {}'
    [ "$protocol" = h2c ] && upstream='http2_protocol_options: {}'
    cat <<EOF
static_resources:
  listeners:
  - address: { socket_address: { address: 127.0.0.1, port_value: $envoy_port } }
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: front
          codec_type: AUTO
          route_config:
            virtual_hosts:
            - { name: all, domains: ["*"], routes: [{ match: { prefix: / }, route: { cluster: models, timeout: 0s } }] }
          http_filters:
          - name: envoy.filters.http.router
            typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }
  clusters:
  - name: models
    connect_timeout: 1s
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: { $upstream }
    circuit_breakers: { thresholds: [{ max_connections: 8192, max_pending_requests: 8192, max_requests: 8192 }] }
    load_assignment:
      cluster_name: models
      endpoints:
      - lb_endpoints:
        - { load_balancing_weight: 90, endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: $blue } } } }
        - { load_balancing_weight: 10, endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: $green } } } }
EOF
}

snapback_conf() {
    cat <<EOF
[data]
listen  = ["127.0.0.1:$snapback_port"]
workers = $threads
[admin]
listen = "127.0.0.1:$admin_port"
[state]
path = "$dir/snapback.db"

[[endpoint]]
name  = "chat"
match = { path_prefix = "$prefix" }
blue  = { version = "v1", instances = ["127.0.0.1:$blue"]$(snapback_protocol) }
EOF
}

snapback_plan() {
    cat <<EOF
green    = { version = "v2", instances = ["127.0.0.1:$green"]$(snapback_protocol) }
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
}

snapback_protocol() {
    [ "$protocol" != h2c ] || echo ', protocol = "h2c"'
}

wrk_script() {
    cat <<'EOF'
wrk.method = "POST"
wrk.path = "/v1/completions"
wrk.headers["content-type"] = "application/json"
wrk.body = string.rep("a", 600)
EOF
}
