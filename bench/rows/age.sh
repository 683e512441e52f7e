# shellcheck shell=bash
# A ledger that has grown old: the calls of 200 jobs in a month, while pg_cron runs jobs in the same database. These rows come
# last, because the jobs stay.

age_jobs=200
age_of_ledger=0
age_rows() { echo $((calls * 100)); }
# The traffic is always the same: 10,000,000 calls in 30 days. A shorter ledger is a younger one.
age_minutes() { echo $((30 * 24 * 60 * $1 / 10000000)); }

# Restarts the server with pg_cron, once.
start_pg_cron() {
  if ((age_of_ledger != 0)); then return; fi
  install_missing_packages "postgresql-$postgres_major-cron" >&2
  cluster_stop "$bench_directory"
  as_owner tee -a "$bench_directory/data/postgresql.conf" >/dev/null <<CONF
shared_preload_libraries = 'pg_stat_statements,pg_cron,wee5_cron'
cron.database_name = 'postgres'
cron.use_background_workers = on
cron.max_running_jobs = 8
max_worker_processes = 32
wee5_cron.default_jobs = off
wee5_cron.enabled = off
CONF
  cluster_start "$bench_directory"
  bench_set_connection
  sql 'CREATE EXTENSION IF NOT EXISTS pg_cron' >/dev/null
}

# switch_worker <on|off>: waits until the worker has seen it.
switch_worker() {
  sql "ALTER SYSTEM SET wee5_cron.enabled = $1" >/dev/null
  sql 'SELECT pg_reload_conf()' >/dev/null
}

# fill_ledger <rows>: with the worker off.
fill_ledger() {
  if ((age_of_ledger == $1)); then return; fi
  start_pg_cron
  switch_worker off
  fill_ledger_of "$bench_directory" builtin "$1"
  age_of_ledger=$1
}

# ledger_script <directory of the server> <name> [psql option...]: runs a script of bench/large_ledger.
ledger_script() { cluster_psql "$1" --quiet "${@:3}" --file="$bench_root/bench/large_ledger/$2.sql" >/dev/null; }

# fill_ledger_of <directory of the server> <transport> <rows>: the attempts and the runs of pg_cron together take as long as the
# calls.
fill_ledger_of() {
  local rest
  say "filling a ledger with $3 calls" >&2
  ledger_script "$1" begin --variable="rows=$3" --variable="jobs=$age_jobs" --variable="days=$(calculate "$(age_minutes "$3") / 1440" %.6f)"
  { ledger_script "$1" attempts && ledger_script "$1" runs; } &
  rest=$!
  ledger_script "$1" calls --variable="transport=$2"
  wait "$rest"
  ledger_script "$1" end
}

# Fills the ledger once for all rows of this file, and lets the worker go on.
make_ledger_old() {
  local started=$SECONDS rows took limit
  rows=$(age_rows)
  if ((age_of_ledger != rows)); then
    fill_ledger "$rows"
    took=$((SECONDS - started))
    limit=$((rows > 1000000 ? 180 * rows / 10000000 : 60))
    row "a ledger of $rows calls, with its indexes" "$took s" - "<= $limit s" "$took <= $limit"
  fi
  switch_worker on
  until [[ $(sql 'SELECT count(*) FROM wee5_cron.job_watch') == "$age_jobs" ]]; do sleep 0.2; done
}

# statement_ms <function>: prints the mean and the longest time of the statements that call it, since they were forgotten.
statement_ms() {
  sql "SELECT round(sum(total_exec_time)::numeric / sum(calls), 1) || ' ' || round(max(max_exec_time)::numeric, 1)
       FROM pg_stat_statements WHERE toplevel AND query LIKE '%$1(%' AND query NOT LIKE '%pg_stat_statements%'"
}

# query_ms <query>: its time in a session that has planned it before, the median of three.
query_ms() {
  local run="DO \$\$ BEGIN EXECUTE \$q\$$1\$q\$; END \$\$"
  cluster_psql "$bench_directory" --no-align --tuples-only --quiet --output=/dev/null --command="$1" --command='\timing on' \
    --command='\o' --command="$run" --command="$run" --command="$run" </dev/null |
    awk '/^Time:/ { print $2 }' | sort -n | awk 'NR == 2 { printf "%.1f\n", $1 }'
}

await_ticks() { # <how many>
  local until_id
  until_id=$(sql "SELECT max(id) + $1 * $age_jobs FROM wee5_cron.invocation")
  until [[ $(sql 'SELECT max(id) FROM wee5_cron.invocation') -ge $until_id ]]; do sleep 1; done
}

# Ticks of pg_cron's, each with a look at all jobs, in parts, when its grace is over.
row_watch() {
  local mean longest
  make_ledger_old
  sql 'SELECT pg_stat_statements_reset()' >/dev/null
  await_ticks $((calls >= 100000 ? 3 : 1))
  until [[ $(sql "SELECT count(*) FROM wee5_cron.job_watch WHERE judged_until < now() - interval '3 minutes'") == 0 ]]; do sleep 1; done
  read -r mean longest < <(statement_ms wee5_cron.watch_some_jobs)
  row "a part of a look at the ticks of $age_jobs jobs, mean / longest" "$mean / $longest ms" - '<= 50 ms' "$longest <= 50"
}

# Restarts the server at once, makes a call, and sets first_ms: how long it took until it was sent. In no subshell, because
# the server has another port then.
measure_first_call() {
  local id
  as_owner "$cluster_bin/pg_ctl" --pgdata="$bench_directory/data" --mode=immediate --silent stop
  cluster_start "$bench_directory"
  bench_set_connection
  id=$(sql "SELECT public.invoke_cron_endpoint('/api/first')")
  first_ms=$(sql "SELECT round(extract(epoch FROM c.first_sent_at - c.requested_at) * 1000)
                  FROM wee5_cron.wait_for($id, '60s') c")
}

row_first_call() {
  make_ledger_old
  measure_first_call
  row 'first call after an immediate restart' "$first_ms ms" - '<= 1 s' "$first_ms <= 1000"
}

row_job_status() {
  local took
  make_ledger_old
  took=$(query_ms 'SELECT count(*) FROM wee5_cron.job_status')
  row "job_status of $age_jobs jobs" "$took ms" - '<= 300 ms' "$took <= 300"
}

# A tick of pg_cron's leaves dead rows and new calls behind the snapshot, which nothing can clean up.
row_job_status_snapshot() {
  local took
  make_ledger_old
  hold_snapshot
  await_ticks 1
  took=$(query_ms 'SELECT count(*) FROM wee5_cron.job_status')
  release_snapshot
  row '... with a snapshot held elsewhere meanwhile' "$took ms" - '<= 300 ms' "$took <= 300"
}

row_health() {
  local took
  make_ledger_old
  took=$(query_ms 'SELECT wee5_cron.health()')
  row "health() with $age_jobs jobs" "$took ms" - '<= 20 ms' "$took <= 20"
  took=$(query_ms 'SELECT count(*) FROM wee5_cron.metrics')
  row "metrics of $age_jobs jobs" "$took ms" - '<= 500 ms' "$took <= 500"
}

row_status_page() {
  local took kilobytes
  make_ledger_old
  took=$(query_ms 'SELECT wee5_cron.status_page()')
  kilobytes=$(sql 'SELECT ceil(octet_length(wee5_cron.status_page()) / 1000.0)')
  row "status_page() of $age_jobs jobs" "$took ms, $kilobytes kB" - '<= 500 ms, 200 kB' "$took <= 500 && $kilobytes <= 200"
}

# What a look and the other figures cost, by the length of the history. Ends with the ledger of the other rows.
row_history_growth() {
  local rows look first status last
  last=$(age_rows)
  for rows in 10000 100000 1000000 10000000; do
    if ((rows > last)); then break; fi
    if ((rows == last)); then make_ledger_old; fi
    fill_ledger "$rows"
    switch_worker on
    until [[ $(sql 'SELECT count(*) FROM wee5_cron.job_watch') == "$age_jobs" ]]; do sleep 0.2; done
    look=$(query_ms 'SELECT wee5_cron.watch_jobs()')
    status=$(query_ms 'SELECT count(*) FROM wee5_cron.job_status')
    measure_first_call
    first=$first_ms
    echo "$rows $look $first $status" >>"$bench_directory/growth"
    row "$rows calls: look / first call / job_status" "$look / $first / $status ms" - \
      '50 / 1000 / 300' "$look <= 50 && $first <= 1000 && $status <= 300"
  done
}

# Retention is switched on for the old ledger: the worker walks it while calls are made. All of it between two ticks: for some
# seconds, pg_cron starts a process for each of its jobs, which is another load.
row_chores() {
  local p50 p99
  make_ledger_old
  until [[ $(sql "SELECT extract(second FROM now())::int BETWEEN 12 AND 14") == t ]]; do sleep 0.5; done
  sql "ALTER SYSTEM SET wee5_cron.keep_succeeded = '$(($(age_minutes "$(age_rows)") * 28 / 30))min'" >/dev/null
  sql 'SELECT pg_reload_conf()' >/dev/null
  read -r p50 p99 < <(latency_at 20 $((calls / 5000 + 20)) 1 chores)
  sql 'ALTER SYSTEM SET wee5_cron.keep_succeeded = -1' >/dev/null
  sql 'SELECT pg_reload_conf()' >/dev/null
  row 'commit -> wire while chores run, p50 / p99' "$p50 / $p99 ms" - '<= 10 ms' "$p99 <= 10"
}

row_prune() {
  local began ended pruned rate
  make_ledger_old
  switch_worker off
  began=$(date +%s%N)
  pruned=$(cluster_psql "$bench_directory" --no-align --tuples-only --quiet \
    --command="SET wee5_cron.keep_succeeded = '$(($(age_minutes "$(age_rows)") * 7 / 30))min'" \
    --command='SELECT wee5_cron.prune()' </dev/null)
  ended=$(date +%s%N)
  rate=$(calculate "$pruned * 1e9 / ($ended - $began)" %d)
  row "prune() of $pruned calls" "$rate rows/s" - '>= 20000 rows/s' "$rate >= 20000"
  age_of_ledger=-1
  switch_worker on
}
