# shellcheck shell=bash
# How many calls a second are delivered and recorded, and what of the queue and of the ledger does not change that.

bare() { "$bench_tools/bench/bench_bare_multi" "http://127.0.0.1:$nginx_port/api/cron/poll-activities" "$1" 64; }

# An empty ledger, as after an installation.
empty_ledger() {
  sql 'TRUNCATE wee5_cron.invocation, wee5_cron.attempt' >/dev/null
  sql 'VACUUM wee5_cron.invocation, wee5_cron.attempt; ' >/dev/null
  sql 'CHECKPOINT' >/dev/null
}

many_calls() { # <calls> [path]
  echo "SELECT count(public.invoke_cron_endpoint('${2:-/api/cron/poll-activities}')) FROM generate_series(1, $1)"
}

# rate_of <calls> [statement...]: queues in one transaction, prints how many a second were delivered and recorded.
rate_of() {
  local count=$1 seconds
  shift
  if (($# == 0)); then set -- "$(many_calls "$count")"; fi
  seconds=$(bench_client drain "$count" "$@")
  expect_all_succeeded
  calculate "$count / $seconds" %.0f
}

# point <series> <x> <y>: one more point of the plot of rate against queue length.
point() { echo "$2 $3" >>"$bench_directory/rate-$1"; }

expect_all_succeeded() {
  local others
  others=$(sql "SELECT count(*) FROM wee5_cron.worker_slots() WHERE failed > 0")
  [[ $others == 0 ]] || sql "SELECT status, reason, error, count(*) FROM wee5_cron.invocation
                             WHERE status <> 'succeeded' GROUP BY 1, 2, 3" >&2
  [[ $others == 0 ]] || give_up 'calls failed'
}

base_rate='' # of the throughput row, for those that compare with it
measure_base() {
  empty_ledger
  base_rate=$(rate_of "$calls")
}

row_throughput() {
  local before after bare_mean ratio
  before=$(bare "$calls")
  measure_base
  after=$(bare "$calls")
  bare_mean=$(calculate "($before + $after) / 2" %.0f)
  ratio=$(calculate "$base_rate / $bare_mean")
  row "$calls calls, bare loop $bare_mean/s" "$base_rate/s" "$ratio" '>= 0.65' "$ratio >= 0.65"
  point bare "$calls" "$bare_mean"
  point builtin "$calls" "$base_rate"
}

# compare <what> <rate> <of> <target>
compare() {
  local ratio
  ratio=$(calculate "$2 / $3")
  row "$1" "$2/s" "$ratio" ">= $4" "$ratio >= $4"
}

row_queue_length() {
  local rate count
  measure_base
  empty_ledger
  rate=$(rate_of $((10 * calls)))
  compare "$((10 * calls)) queued, against $calls" "$rate" "$base_rate" 0.9
  point builtin "$((10 * calls))" "$rate"
  for count in 100 1000 10000; do
    empty_ledger
    point builtin "$count" "$(rate_of "$count")"
  done
}

# The slow path holds its half of the slots for the whole run, so the yardstick is a run with as many slots as are left.
row_slow_path() {
  local rate of
  empty_ledger
  sql 'ALTER DATABASE postgres SET wee5_cron.max_in_flight = 32' >/dev/null
  of=$(rate_of "$calls")
  empty_ledger
  sql 'ALTER DATABASE postgres SET wee5_cron.max_in_flight = 64' >/dev/null
  # Of the slow ones a few dozen end meanwhile.
  rate=$(rate_of "$calls" "$(many_calls "$calls" /slow)" "$(many_calls "$calls")")
  compare "$calls of a slow path in front" "$rate" "$of" 0.8
  forget_queue
}

# Removes the calls that still wait. Those on the wire end with the worker.
forget_queue() {
  sql 'TRUNCATE wee5_cron.invocation, wee5_cron.attempt' >/dev/null
  sql "SELECT pg_terminate_backend($(worker_pid))" >/dev/null
  until [[ -n $(worker_pid) ]]; do sleep 0.1; done
}

row_snapshot() {
  local small rate
  empty_ledger
  hold_snapshot
  small=$(rate_of 10000)
  release_snapshot
  empty_ledger
  hold_snapshot
  rate=$(rate_of "$calls")
  release_snapshot
  compare "old snapshot, $calls against 10000" "$rate" "$small" 0.8
}

hold_snapshot() {
  coproc SNAPSHOT { cluster_psql "$bench_directory" --no-align --tuples-only; }
  # shellcheck disable=SC2153
  snapshot_pid=$SNAPSHOT_PID
  echo 'BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1;' >&"${SNAPSHOT[1]}"
  read -r _ <&"${SNAPSHOT[0]}"
}
release_snapshot() {
  echo 'COMMIT; \q' >&"${SNAPSHOT[1]}"
  wait "$snapshot_pid" 2>/dev/null || true
}

row_history() {
  local rate
  measure_base
  empty_ledger
  sql "INSERT INTO wee5_cron.invocation (endpoint_path, transport, status, http_status, attempts, first_sent_at,
                                         finished_at, duration, response_body)
       SELECT '/api/cron/poll-activities', 'builtin', 'succeeded', 200, 1, now(), now(), '1 ms', '{\"ok\":true}'
       FROM generate_series(1, 10 * $calls)" >/dev/null
  sql "INSERT INTO wee5_cron.attempt (invocation_id, attempt, started_at, finished_at, http_status)
       SELECT id, 1, now(), now(), 200 FROM wee5_cron.invocation" >/dev/null
  sql 'VACUUM (ANALYZE) wee5_cron.invocation, wee5_cron.attempt' >/dev/null
  sql 'CHECKPOINT' >/dev/null
  rate=$(rate_of "$calls")
  compare "$((10 * calls)) finished rows of history" "$rate" "$base_rate" 0.9
}

# Calls for later cost nothing until their time.
row_waiting() {
  local rate
  measure_base
  empty_ledger
  sql "SELECT count(wee5_cron.invoke('/api/cron/later', at => now() + interval '1 day')) FROM generate_series(1, 10 * $calls)" >/dev/null
  sql 'VACUUM (ANALYZE) wee5_cron.invocation' >/dev/null
  sql 'CHECKPOINT' >/dev/null
  rate=$(rate_of "$calls")
  compare "$((10 * calls)) calls wait for tomorrow" "$rate" "$base_rate" 0.9
  empty_ledger
}

row_many_paths() {
  local rate
  measure_base
  empty_ledger
  rate=$(rate_of "$calls" "SELECT count(public.invoke_cron_endpoint('/api/cron/user/' || i)) FROM generate_series(1, $calls) i")
  compare "$calls paths, one call each" "$rate" "$base_rate" 0.8
}

