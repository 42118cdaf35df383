#!/bin/sh
# Ships a model from a CI job: lints the plan, starts the shift, waits for its end, and fails the job if it was rolled back.
#
#   SNAPBACK_ADMIN=https://snapback.internal:9090 SNAPBACK_TOKEN=... shift.sh ENDPOINT PLAN [TIMEOUT]
#
# Exit status: 0 promoted; 1 rolled back, or the plan has errors; 3 still running at the deadline: it goes on, or aborts with
# ON_TIMEOUT=abort. Runs with any POSIX shell.
set -eu

endpoint=$1
plan=$2
timeout=${3:-2h}
reason=${REASON:-"CI job ${CI_JOB_URL:-${GITHUB_RUN_ID:-by hand}}"}

# What a plan cannot find at the traffic there is, is better known before it runs.
snapback plan lint "$endpoint" "$plan"

status=0
snapback shift start "$endpoint" "$plan" --wait --timeout "$timeout" --reason "$reason" || status=$?

case $status in
0) ;;
3)
    if [ "${ON_TIMEOUT:-leave}" = abort ]; then
        snapback shift abort "$endpoint" --reason "still running after $timeout"
    fi
    ;;
*)
    # Why, with the alarms' numbers, where whoever broke the build looks first. A shift that never began has nothing to explain.
    snapback shift explain "$endpoint" || true
    ;;
esac
exit "$status"
