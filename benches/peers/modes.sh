# What run.sh measures. Each mode starts what it needs, samples every peer in rounds and says what the samples' columns are.

start_all() { # cores
    local peer
    write_configs
    start upstream 1 nginx -p "$dir" -c "$dir/upstream.conf"
    wait_for "$blue" upstream
    for peer in "${peers[@]}"; do start_peer "$peer" "$1"; done
}

# ---- http1: requests by wrk, as fast as they are answered

measure_http1() {
    title="CPU time per request, 64 connections, 600 B in, 1 KiB out, 90/10"
    columns="CPU us/request,requests/s,p99 ms,errors"
    start_all 0
    in_rounds sample_http1
    check_shift
}

sample_http1() { # peer
    local before after
    before=$(cpu_of "$(pid_of "$1")")
    run_wrk "$(port_of "$1")" 64 "$seconds" 1
    after=$(cpu_of "$(pid_of "$1")")
    read_wrk $((after - before))
}

run_wrk() { # port, connections, seconds, cores
    taskset -c "$4" wrk -t1 -c"$2" -d"${3}s" --latency -s "$dir/load.lua" "http://127.0.0.1:$1/v1/completions" >"$dir/load.out"
}

read_wrk() { # CPU microseconds
    python3 - "$dir/load.out" "$1" <<'PY'
import re, sys
text = open(sys.argv[1]).read()
requests, window = re.search(r"(\d+) requests in ([\d.]+)s", text).groups()
p99, unit = re.search(r"99%\s+([\d.]+)(us|ms|s)", text).groups()
bad = sum(map(int, re.findall(r"(?:Non-2xx or 3xx responses: |connect |read |write |timeout )(\d+)", text)))
print(int(sys.argv[2]) / int(requests), int(requests) / float(window), float(p99) * {"us": 1e-3, "ms": 1, "s": 1e3}[unit], bad)
PY
}

# ---- grpc: unary calls by h2load

measure_grpc() {
    title="CPU time per unary call, h2c on both sides, 16 connections of 4 streams, 600 B in, 1 KiB and a trailer out, 90/10"
    columns="CPU us/call,calls/s,errors"
    protocol=h2c prefix=/inference.GRPCInferenceService/
    head -c 600 /dev/zero >"$dir/call"
    start_all 0
    in_rounds sample_grpc
    check_shift
}

sample_grpc() { # peer
    local before after
    before=$(cpu_of "$(pid_of "$1")")
    call "$(port_of "$1")" -D"$seconds"
    after=$(cpu_of "$(pid_of "$1")")
    python3 - "$dir/load.out" $((after - before)) "$seconds" <<'PY'
import re, sys
text = open(sys.argv[1]).read()
done, failed, errored = re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored", text).groups()
# Calls that were under way at the end are counted as failed by none of these.
odd = sum(map(int, re.search(r"(\d+) 3xx, (\d+) 4xx, (\d+) 5xx", text).groups()))
print(int(sys.argv[2]) / int(done), int(done) / float(sys.argv[3]), int(failed) + odd)
PY
}

call() { # port, how much of it
    taskset -c 1 h2load -c16 -m4 -t1 "$2" -d "$dir/call" -H 'te: trailers' -H 'content-type: application/grpc' \
        "http://127.0.0.1:$1${prefix}ModelInfer" >"$dir/load.out"
}

# ---- sse: token streams

measure_sse() {
    title="CPU time per event, 400 streams of 50 events/s"
    columns="CPU us/event,events/s,p50 delay us,p99 delay us"
    start_with_streams 0
    in_rounds sample_sse
}

start_with_streams() { # cores
    local peer
    write_configs
    start upstream 1 "$load" events "127.0.0.1:$blue" "127.0.0.1:$green"
    for peer in "${peers[@]}"; do start_peer "$peer" "$1"; done
}

sample_sse() { # peer
    local before after events p50 p99
    begin_load streams "127.0.0.1:$(port_of "$1")" 400 "$seconds"
    before=$(cpu_of "$(pid_of "$1")")
    read -r events p50 p99 <&"${loading[0]}"
    after=$(cpu_of "$(pid_of "$1")")
    end_load
    echo $((after - before)) "$events" "$seconds" "$p50" "$p99" | awk '{ print $1 / $2, $2 / $3, $4, $5 }'
}

# Starts a load of ours that holds what it opens, and waits until all is open.
begin_load() { # arguments...
    local opened
    coproc loading { exec taskset -c 1 "$load" "$@"; }
    read -r opened <&"${loading[0]}"
    [ "$opened" = open ]
}

end_load() {
    local pid=$loading_PID
    exec {loading[1]}>&-
    wait "$pid"
}

# ---- p99: an open loop

measure_p99() {
    title="p99 added at 60 % of the slowest proxy's most, open loop, 64 connections, 600 B in, 1 KiB out, 90/10"
    columns="added p99 us,p50 us,p99 us,p99.9 us,errors"
    local peer most least=1000000
    start_all 0
    for peer in "${peers[@]}"; do
        run_wrk "$(port_of "$peer")" 64 "$seconds" 1
        most=$(read_wrk 0 | awk '{ print int($2) }')
        if ((most < least)); then least=$most; fi
    done
    rate=$((least * 6 / 10))
    title+=", $rate requests/s"
    in_rounds sample_p99
    check_shift
}

# The model server alone, in the same round, is what the proxy adds to.
sample_p99() { # peer
    local alone
    read -r _ alone _ <<<"$(open_loop "$blue")"
    open_loop "$(port_of "$1")" | awk -v alone="$alone" '{ print $2 - alone, $1, $2, $3, $4 }'
}

open_loop() { # port
    taskset -c 1 "$load" rate "127.0.0.1:$1" "$rate" 64 "$seconds"
}

# ---- memory: of the process, without the kernel's

measure_memory() {
    title="KiB of the process's anonymous memory, at 8,000 idle connections and at 2,000 streams, a fresh proxy each time"
    columns="KiB/connection,KiB/stream"
    local peer
    write_configs
    start upstream 1 nginx -p "$dir" -c "$dir/upstream.conf"
    wait_for "$blue" upstream
    in_fresh_rounds sample_idle
    stop "$upstream_pid"
    for peer in "${peers[@]}"; do mv "$dir/$peer.samples" "$dir/$peer.idle"; done
    start upstream 1 "$load" events "127.0.0.1:$blue" "127.0.0.1:$green"
    in_fresh_rounds sample_streams
    for peer in "${peers[@]}"; do
        paste -d' ' "$dir/$peer.idle" "$dir/$peer.samples" >"$dir/both"
        mv "$dir/both" "$dir/$peer.samples"
    done
}

sample_idle() { # peer
    # So many, since an allocator takes its memory in steps of up to 2 MiB.
    sample_memory "$1" idle 8000
}

sample_streams() { # peer
    sample_memory "$1" streams 2000 1
}

sample_memory() { # peer, arguments of the load but the address
    local before after
    start_peer "$1" 0
    before=$(memory_of "$(pid_of "$1")")
    begin_load "$2" "127.0.0.1:$(port_of "$1")" "${@:3}"
    after=$(memory_of "$(pid_of "$1")")
    end_load
    stop "$(pid_of "$1")"
    echo $((after - before)) "$3" | awk '{ print $1 / $2 }'
}

memory_of() { # pid
    awk '/^RssAnon:/ { print $2 }' "/proc/$1/status"
}

# ---- workers: what two can do

# On two cores, the load takes from the proxy what it needs, so that a mere ratio of throughputs would say little. Instead: a proxy can do as
# much as its busiest thread lets it, one second's worth of that thread's time. That sees what costs more with two threads and what is shared
# unevenly between them. It does not see threads that wait for each other without using time; Snapback's workers share no lock.
measure_workers() {
    title="requests for each CPU second of the busiest thread, one thread and two on both cores, 64 connections, 600 B in, 1 KiB out, 90/10"
    columns="two to one,one: requests/CPU s,two: requests/CPU s"
    leave_out nginx "its workers are processes"
    in_fresh_rounds sample_workers
}

sample_workers() { # peer
    local one two
    one=$(requests_for_busiest "$1" 1)
    two=$(requests_for_busiest "$1" 2)
    awk -v one="$one" -v two="$two" 'BEGIN { print two / one, one, two }'
}

requests_for_busiest() { # peer, threads
    threads=$2
    write_configs
    start upstream 0,1 nginx -p "$dir" -c "$dir/upstream.conf"
    wait_for "$blue" upstream
    start_peer "$1" 0,1
    run_wrk "$(port_of "$1")" 64 1 0,1
    cpu_of_threads "$(pid_of "$1")" >"$dir/before"
    run_wrk "$(port_of "$1")" 64 "$seconds" 0,1
    cpu_of_threads "$(pid_of "$1")" >"$dir/after"
    read_wrk 0 >"$dir/seen"
    stop "$(pid_of "$1")" "$upstream_pid"
    local busiest
    busiest=$(paste "$dir/before" "$dir/after" | awk '{ used = $2 - $1; if (used > most) most = used } END { print most }')
    awk -v seconds="$seconds" -v busiest="$busiest" '{ print $2 * seconds * 1000000 / busiest }' "$dir/seen"
}

# ---- instructions: counted by callgrind, which makes a proxy fifty times slower and its count the same each time

INSTRUCTIONS_OVER=10000

measure_instructions_http1() {
    title="instructions of user code per request, 64 connections, 600 B in, 1 KiB out, 90/10"
    measure_instructions post
}

measure_instructions_grpc() {
    title="instructions of user code per unary call, h2c on both sides, 16 connections of 4 streams, 600 B in, 1 KiB and a trailer out, 90/10"
    protocol=h2c prefix=/inference.GRPCInferenceService/
    measure_instructions call
}

measure_instructions() { # load
    columns="instructions"
    load_in_requests=$1
    head -c 600 /dev/zero >"$dir/call"
    write_configs
    start upstream 1 nginx -p "$dir" -c "$dir/upstream.conf"
    wait_for "$blue" upstream
    in_fresh_rounds sample_instructions
}

# The proxy's busiest thread: the others' work is in no request.
sample_instructions() { # peer
    wrap=(valgrind --tool=callgrind --instr-atstart=no --separate-threads=yes "--callgrind-out-file=$dir/callgrind")
    start_peer "$1" 0
    wrap=()
    "$load_in_requests" "$(port_of "$1")" -n2000
    callgrind_control -i on "$(pid_of "$1")" &>/dev/null
    "$load_in_requests" "$(port_of "$1")" -n$INSTRUCTIONS_OVER
    callgrind_control -i off "$(pid_of "$1")" &>/dev/null
    stop "$(pid_of "$1")"
    awk -v requests=$INSTRUCTIONS_OVER '/^totals:/ && $2 > most { most = $2 } END { print most / requests }' "$dir"/callgrind*
    rm "$dir"/callgrind*
}

post() { # port, how much of it
    taskset -c 1 h2load --h1 -c64 -t1 "$2" -d "$dir/call" -H 'content-type: application/json' \
        "http://127.0.0.1:$1/v1/completions" >"$dir/load.out"
}
