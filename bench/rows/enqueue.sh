# shellcheck shell=bash
# What a call costs its caller, compared with a plain INSERT into the ledger. Times are processor time, rates are by the clock.
# The worker and autovacuum are off meanwhile: autovacuum would clean up after one of two measurements and not after the
# other.

enqueue_rounds=11
pgbench_rounds=10
pgbench_seconds=3
most_calls=200000
growth_rounds=5

insert_rows() {
  echo "INSERT INTO wee5_cron.invocation (endpoint_path, method, headers, transport, status)
        SELECT '/api/cron/poll-activities', 'GET', '{}', 'builtin', 'queued' FROM generate_series(1, $1)"
}

row_enqueue() {
  if ((calls < 100000)); then
    enqueue_rounds=5 pgbench_rounds=3 pgbench_seconds=2 most_calls=50000 growth_rounds=3
  fi
  sql 'ALTER SYSTEM SET autovacuum = off' >/dev/null
  sql 'SELECT pg_reload_conf()' >/dev/null
  worker_stands_still
  in_one_transaction
  one_a_transaction
  nothing_grows
  empty_queue
  worker_goes_on
  sql 'ALTER SYSTEM RESET autovacuum' >/dev/null
  sql 'SELECT pg_reload_conf()' >/dev/null
}

empty_queue() { sql 'TRUNCATE wee5_cron.invocation; CHECKPOINT' >/dev/null; }

# processor_ms <directory> <database> <statement> <statement that goes before>...: milliseconds of the processor, in the
# transaction of the statement from the first to the last word. Time by the clock would be the other processes' of a busy
# machine, too.
processor_ms() {
  local directory=$1 database=$2 statement=$3
  shift 3
  {
    printf '%s \\g /dev/null\n' "$@"
    cat <<SQL
SELECT pg_backend_pid() AS pid \gset
\setenv BACKEND :pid
\set before \`cut -d' ' -f1 /proc/\$BACKEND/schedstat\`
$statement \g /dev/null
\set after \`cut -d' ' -f1 /proc/\$BACKEND/schedstat\`
SELECT round((:after - :before) / 1e6, 3);
SQL
  } | cluster_psql "$directory" --dbname="$database" --no-align --tuples-only
}

# milliseconds_of <statement>: in a session in which both were run small once before.
milliseconds_of() {
  empty_queue
  processor_ms "$bench_directory" postgres "$1" "$(many_calls 5)" "$(insert_rows 5)"
}

# Whatever else the machine does only adds time, so the least time is the best estimate.
least() { sort -n "$1" | head -n 1; }
mean() { awk '{ sum += $1 } END { print sum / NR }' "$1"; }

# measure_both <calls> <rounds>: sets ours and theirs to the milliseconds of that many calls and rows. It takes turns in many
# short rounds, so that whatever else the machine does affects both.
measure_both() {
  local round our_times=$bench_directory/calls their_times=$bench_directory/rows
  rm -f "$our_times" "$their_times"
  for ((round = 0; round < $2; ++round)); do
    milliseconds_of "$(many_calls "$1")" >>"$our_times"
    milliseconds_of "$(insert_rows "$1")" >>"$their_times"
  done
  ours=$(least "$our_times") theirs=$(least "$their_times")
}

in_one_transaction() {
  local ours theirs ratio
  measure_both 20000 "$enqueue_rounds"
  ratio=$(calculate "$ours / $theirs")
  row "enqueue, 20000 at once, INSERT $(calculate "$theirs / 20" %.1f) us" "$(calculate "$ours / 20" %.1f) us" "$ratio" \
    '<= 1.40' "$ratio <= 1.4"
}

# per_second <script>: transactions a second of eight clients.
per_second() {
  empty_queue
  (cd "$bench_directory" && as_owner "$cluster_bin/pgbench" --no-vacuum --client=8 --jobs=2 --protocol=prepared \
    --time="$pgbench_seconds" --file="$1" --host="$bench_directory" --port="$cluster_port" --username="$owner" postgres 2>&1) |
    sed -n 's/^tps = \([0-9.]*\).*/\1/p'
}

one_a_transaction() {
  local round ours theirs ratio call=$bench_directory/call.sql insert=$bench_directory/insert.sql
  many_calls 1 >"$call"
  insert_rows 1 | tr '\n' ' ' >"$insert"
  for ((round = 0; round < pgbench_rounds; ++round)); do
    per_second "$call" >>"$call.rates"
    per_second "$insert" >>"$insert.rates"
  done
  ours=$(mean "$call.rates") theirs=$(mean "$insert.rates")
  ratio=$(calculate "$ours / $theirs")
  row "  one a transaction, 8 clients, INSERT $(calculate "$theirs" %.0f)/s" "$(calculate "$ours" %.0f)/s" "$ratio" \
    '>= 0.85' "$ratio >= 0.85"
}

# Each is compared with as many rows: what grows for both, such as the indexes, is not the cost of a call.
nothing_grows() {
  local count ours theirs ratio first=''
  for count in 1000 20000 "$most_calls"; do
    measure_both "$count" "$growth_rounds"
    ratio=$(calculate "$ours / $theirs")
    first=${first:-$ratio}
    row "  $count at once, INSERT $(calculate "1000 * $theirs / $count" %.1f) us" "$(calculate "1000 * $ours / $count" %.1f) us" \
      "$ratio" "<= $(calculate "1.25 * $first")" "$ratio <= 1.25 * $first"
  done
  empty_queue
  mapfile -t memory < <(memory_after "$(many_calls 20000)" "$(many_calls "$most_calls")" "$(many_calls "$most_calls")")
  ratio=$(calculate "${memory[2]} / ${memory[1]}")
  row "  memory of the session after $most_calls calls, and twice" "${memory[1]} ${memory[2]} kB" "$ratio" '<= 1.02' \
    "$ratio <= 1.02"
}

# Prints the kilobytes of memory of its own that a session has after each of the statements.
memory_after() {
  local statement
  {
    for statement in "$@"; do
      # shellcheck disable=SC2016  # expanded by the shell that psql starts
      printf '%s \\g /dev/null\nSELECT pg_backend_pid() AS pid \\gset\n\\setenv BACKEND :pid\n%s\n' "$statement" \
        '\! awk '"'"'/^RssAnon/ { print $2 }'"'"' /proc/$BACKEND/status'
    done
  } | cluster_psql "$bench_directory" --no-align --tuples-only
}
