# shellcheck shell=bash
# The portable edition over pg_net, on a server of its own that does not load our library, as a host's. pg_cron and pg_net serve
# the database postgres, where the portable edition is. The database native has the extension, for comparison: it hands its calls
# to pg_net, too. These rows come last: the servers of the other rows are stopped.

portable_calls=1000
portable_directory=''

# in_server <database> [psql option...]
in_server() {
  local database=$1
  shift
  cluster_psql "$portable_directory" --dbname="$database" --no-align --tuples-only "$@"
}
portable_sql() { in_server postgres --command="$1" </dev/null; }

# Starts the server, once. False: pg_net is not installed, which this prints.
start_portable() {
  if [[ -n $portable_directory ]]; then return; fi
  if ! pg_net_there; then
    echo "$1: pg_net not available, skipped"
    return 1
  fi
  install_missing_packages "postgresql-$postgres_major-cron" >&2
  cluster_stop "$bench_directory"
  cluster_stop "$bench_directory/many"
  mkdir "$bench_build/portable"
  copy_sources "$bench_build/portable"
  make --silent -C "$bench_build/portable" PG_CONFIG="$pg_config" portable >/dev/null
  portable_directory=$bench_directory/portable
  as_owner mkdir "$portable_directory"
  cluster_create "$portable_directory" <<CONF
shared_preload_libraries = 'pg_cron,pg_net'
cron.database_name = 'postgres'
cron.launch_active_jobs = off
pg_net.database_name = 'postgres'
shared_buffers = 512MB
max_wal_size = 4GB
checkpoint_timeout = 30min
CONF
  echo 'local all all trust' | as_owner tee "$portable_directory/data/pg_hba.conf" >/dev/null
  cluster_start "$portable_directory"
  {
    echo 'SET client_min_messages = warning;'
    echo "ALTER ROLE ALL SET app.settings.api_url = 'http://127.0.0.1:$nginx_port';"
    echo "ALTER ROLE ALL SET app.settings.cron_secret = '$bench_secret';"
    echo 'CREATE DATABASE native;'
    echo "ALTER DATABASE native SET wee5_cron.transport = 'pg_net';"
    echo "ALTER DATABASE native SET wee5_cron.default_jobs = off;"
    echo 'CREATE EXTENSION pg_cron; CREATE EXTENSION pg_net;'
    cat "$bench_build/portable/sql/wee5_cron--portable.sql"
    echo 'SELECT wee5_cron.arm();'
    echo '\connect native'
    echo 'SET client_min_messages = warning; CREATE EXTENSION pg_net; CREATE EXTENSION wee5_cron;'
  } | in_server postgres --output=/dev/null
}

# single_calls <count>: each in a transaction of its own.
single_calls() {
  local call
  call=$(many_calls 1)
  for _ in $(seq 2 "$1"); do printf '%s \\g /dev/null\n' "$call"; done
  printf '%s' "$call"
}

# processor_ms_of <database> <statements>: the statements make portable_calls calls.
processor_ms_of() {
  in_server "$1" --command='TRUNCATE wee5_cron.invocation, wee5_cron.attempt, wee5_cron.pg_net_request, net.http_request_queue, net._http_response' </dev/null
  processor_ms "$portable_directory" "$1" "$2" "$(many_calls 5)"
}

# enqueue_row <what> <statements> <target>. In turn and in many short rounds, so that what else the machine does meets both.
enqueue_row() {
  local round ours theirs ratio kept=$portable_directory/enqueue
  rm -f "$kept".*
  for ((round = 0; round < 9; ++round)); do
    processor_ms_of postgres "$2" >>"$kept.ours"
    processor_ms_of native "$2" >>"$kept.theirs"
  done
  ours=$(least "$kept.ours") theirs=$(least "$kept.theirs")
  ratio=$(calculate "$ours / $theirs")
  row "portable edition: $portable_calls calls $1, the extension $(calculate "1000 * $theirs / $portable_calls" %.0f) us" \
    "$(calculate "1000 * $ours / $portable_calls" %.0f) us" "$ratio" "<= $3" "$ratio <= $3"
}

# The address of an app: https and a name. Nobody listens there, so pg_net is done with a call at once.
row_portable_enqueue() {
  start_portable portable_enqueue || return 0
  portable_sql "ALTER ROLE ALL SET app.settings.api_url = 'https://localhost:1'"
  enqueue_row 'at once' "$(many_calls "$portable_calls")" 3.00
  enqueue_row 'one by one' "$(single_calls "$portable_calls")" 3.00
  portable_sql "ALTER ROLE ALL SET app.settings.api_url = 'http://127.0.0.1:$nginx_port'"
}

# harvest_ms <count>: the milliseconds of so many harvests, one after the other in a new session. pg_cron opens one for each run.
harvest_ms() {
  { echo '\timing on'; for _ in $(seq "$1"); do echo 'SELECT wee5_cron.harvest();'; done; } | in_server postgres |
    awk '/^Time:/ { print $2 }'
}

row_portable_harvest() {
  local took booked
  start_portable portable_harvest || return 0
  portable_sql 'TRUNCATE wee5_cron.invocation, wee5_cron.attempt, wee5_cron.pg_net_request, net.http_request_queue, net._http_response'
  portable_sql "$(many_calls "$portable_calls")" >/dev/null
  until [[ $(portable_sql 'SELECT count(*) FROM wee5_cron.pg_net_request b JOIN net._http_response r ON r.id = b.request_id') == "$portable_calls" ]]; do
    sleep 0.1
  done
  took=$(harvest_ms 1)
  booked=$(portable_sql "SELECT count(*) FROM wee5_cron.invocation WHERE status = 'succeeded'")
  [[ $booked == "$portable_calls" ]] || give_up "harvest() recorded $booked successes of $portable_calls"
  row "portable edition: a harvest of $portable_calls answers" "$took ms" - '<= 1000 ms' "$took <= 1000"
}

# harvest_processor_ms <count> [statement]: the processor time of a harvest, on average of so many in a session, after the statement.
harvest_processor_ms() {
  local harvests
  harvests=$(for _ in $(seq 2 "$1"); do echo 'SELECT wee5_cron.harvest() \g /dev/null'; done; echo 'SELECT wee5_cron.harvest()')
  calculate "$(processor_ms "$portable_directory" postgres "$harvests" "${@:2}") / $1" '%.1f\n'
}

# The calls are younger than what is kept, so that there is nothing to delete. No job is due for months.
row_portable_rest() {
  local rows first again
  start_portable portable_rest || return 0
  rows=$(age_rows)
  fill_ledger_of "$portable_directory" pg_net "$rows"
  portable_sql "UPDATE cron.job SET schedule = '0 0 1 1 *'" >/dev/null
  portable_sql "SELECT wee5_cron.set('keep_succeeded', '60d'), wee5_cron.set('keep_failed', '60d'), wee5_cron.prune(), wee5_cron.harvest()" >/dev/null
  # harvest() walks the ledger in parts, and then rests for an hour.
  until [[ $(portable_sql "SELECT place IS NULL AND due_at > now() FROM wee5_cron.background_task WHERE name = 'prune'") == t ]]; do
    harvest_ms 1 >/dev/null
  done
  first=$(harvest_processor_ms 1 'SELECT 1')
  again=$(for _ in 1 2 3 4 5; do harvest_processor_ms 10 'SELECT wee5_cron.harvest()'; done | sort -n | head -n 1)
  row "portable edition: nothing to harvest, $rows calls, first / again" "$first / $again ms" - '<= 20 ms' "$again <= 20"
}
