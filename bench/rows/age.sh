# shellcheck shell=bash
# A ledger that has grown old: a month of 200 jobs, with pg_cron beside it, whose jobs tick meanwhile.

age_jobs=200
age_of_server=''

# Restarts the server with pg_cron and fills its ledger, once for all rows of this file. They come last: the jobs stay.
make_ledger_old() {
  local started=$SECONDS
  if [[ -n $age_of_server ]]; then return; fi
  age_of_server=old
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
  say "filling a ledger with $((calls * 100)) calls" >&2
  cluster_psql "$bench_directory" --quiet --variable="rows=$((calls * 100))" --variable="jobs=$age_jobs" \
    --file="$bench_root/bench/large_ledger.sql" >/dev/null
  sql "ALTER SYSTEM SET wee5_cron.enabled = on" >/dev/null
  sql 'SELECT pg_reload_conf()' >/dev/null
  row 'a ledger of a month, with its indexes' "$((SECONDS - started)) s" - - 1
  until [[ $(sql 'SELECT count(*) FROM wee5_cron.job_watch') == "$age_jobs" ]]; do sleep 0.2; done
}

# statement_ms <function>: prints the mean and the longest time of the statements that call it, since they were forgotten.
statement_ms() {
  sql "SELECT round(sum(total_exec_time)::numeric / sum(calls), 1) || ' ' || round(max(max_exec_time)::numeric, 1)
       FROM pg_stat_statements WHERE toplevel AND query LIKE '%$1(%' AND query NOT LIKE '%pg_stat_statements%'" | tr '|' ' '
}

# Three ticks of pg_cron's, each with a look at all jobs when its grace is over.
row_watch() {
  local mean longest until_id
  make_ledger_old
  sql 'SELECT pg_stat_statements_reset()' >/dev/null
  until_id=$(sql "SELECT max(id) + 3 * $age_jobs FROM wee5_cron.invocation")
  until [[ $(sql 'SELECT max(id) FROM wee5_cron.invocation') -ge $until_id ]]; do sleep 1; done
  sleep 20  # the looks follow the ticks
  read -r mean longest < <(statement_ms wee5_cron.watch)
  row "one look at the ticks of $age_jobs jobs, mean / longest" "$mean / $longest ms" - '<= 50 ms' "$longest <= 50"
}

row_first_call() {
  local took
  make_ledger_old
  as_owner "$cluster_bin/pg_ctl" --pgdata="$bench_directory/data" --mode=immediate --silent stop
  cluster_start "$bench_directory"
  bench_set_connection
  took=$(sql "SELECT round(extract(epoch FROM c.first_sent_at - c.requested_at) * 1000)
              FROM wee5_cron.wait_for(public.invoke_cron_endpoint('/api/first'), '60s') c")
  row 'first call after an immediate restart' "$took ms" - '<= 1 s' "$took <= 1000"
}

row_job_status() {
  local began ended took
  make_ledger_old
  sql 'SELECT count(*) FROM wee5_cron.job_status' >/dev/null
  began=$(date +%s%N)
  sql 'SELECT count(*) FROM wee5_cron.job_status' >/dev/null
  ended=$(date +%s%N)
  took=$(((ended - began) / 1000000))
  row "job_status of $age_jobs jobs" "$took ms" - '<= 300 ms' "$took <= 300"
}

# Retention is switched on for the old ledger: the worker walks it while calls are made.
row_chores() {
  local p50 p99
  make_ledger_old
  sql "ALTER SYSTEM SET wee5_cron.keep_succeeded = '29d'" >/dev/null
  sql 'SELECT pg_reload_conf()' >/dev/null
  read -r p50 p99 < <(latency_at 20 $((calls / 5000 + 40)) 1 chores)
  sql 'ALTER SYSTEM SET wee5_cron.keep_succeeded = -1' >/dev/null
  sql 'SELECT pg_reload_conf()' >/dev/null
  row 'commit -> wire while chores run, p50 / p99' "$p50 / $p99 ms" - '<= 10 ms' "$p99 <= 10"
}

row_prune() {
  local began ended pruned rate
  make_ledger_old
  sql "ALTER SYSTEM SET wee5_cron.enabled = off" >/dev/null
  sql 'SELECT pg_reload_conf()' >/dev/null
  began=$(date +%s%N)
  pruned=$(cluster_psql "$bench_directory" --no-align --tuples-only --quiet --command="SET wee5_cron.keep_succeeded = '7d'" \
    --command='SELECT wee5_cron.prune()' </dev/null)
  ended=$(date +%s%N)
  rate=$(calculate "$pruned * 1e9 / ($ended - $began)" %d)
  row "prune() of $pruned calls" "$rate rows/s" - '>= 20000 rows/s' "$rate >= 20000"
  sql "ALTER SYSTEM SET wee5_cron.enabled = on" >/dev/null
  sql 'SELECT pg_reload_conf()' >/dev/null
}
