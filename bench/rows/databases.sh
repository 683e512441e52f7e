# shellcheck shell=bash
# Many databases with the extension, and few background workers, on a server of its own. These rows come last: the server of
# the other rows is stopped.

many_databases=100
mapfile -t all_databases < <(seq "$many_databases")
mapfile -t busy_databases < <(seq 16)
many_directory=''

start_many_databases() {
  local n
  if [[ -n $many_directory ]]; then return; fi
  install_missing_packages "postgresql-$postgres_major-cron" >&2
  cluster_stop "$bench_directory"
  many_directory=$bench_directory/many
  as_owner mkdir -p "$many_directory"
  cluster_create "$many_directory" <<CONF
shared_preload_libraries = 'pg_cron,wee5_cron'
cron.database_name = 'postgres'
cron.host = '$many_directory'
cron.max_running_jobs = 100
max_worker_processes = 16
max_connections = 300
autovacuum = off
wee5_cron.default_jobs = off
CONF
  echo 'local all all trust' | as_owner tee "$many_directory/data/pg_hba.conf" >/dev/null
  cluster_start "$many_directory"
  say "creating $many_databases databases with the extension" >&2
  {
    echo "ALTER ROLE ALL SET app.settings.api_url = 'http://127.0.0.1:$nginx_port';"
    echo "ALTER ROLE ALL SET app.settings.cron_secret = '$bench_secret';"
    echo 'CREATE EXTENSION pg_cron;'
    echo 'CREATE DATABASE original;'
    echo '\connect original'
    echo 'SET client_min_messages = warning; CREATE EXTENSION wee5_cron;'
    echo '\connect postgres'
    echo 'ALTER DATABASE original ALLOW_CONNECTIONS false;'
    echo "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = 'original';"
    for n in "${all_databases[@]}"; do echo "CREATE DATABASE d$n TEMPLATE original;"; done
  } | cluster_psql "$many_directory" --output=/dev/null
  # A copy makes no calls before it is armed.
  in_databases 'SELECT wee5_cron.arm()' "${all_databases[@]}" >/dev/null
}

# in_databases <statement> <number>...: the same in each, by one psql.
in_databases() {
  local statement=$1 n
  shift
  for n in "$@"; do printf '\\connect d%s\n%s;\n' "$n" "$statement"; done |
    cluster_psql "$many_directory" --no-align --tuples-only
}
in_postgres() { echo "$1" | cluster_psql "$many_directory" --no-align --tuples-only; }

sum() { awk '{ s += $1 } END { print s + 0 }'; }

# await_sent <path> <calls> <number>...: until at least so many calls of the path were sent in these databases.
await_sent() {
  local path=$1 expected=$2
  shift 2
  until [[ $(in_databases "SELECT count(*) FROM wee5_cron.invocation WHERE endpoint_path = '$path' AND first_sent_at IS NOT NULL" "$@" | sum) -ge "$expected" ]]; do
    sleep 0.5
  done
}

row_databases() {
  local took
  start_many_databases
  as_owner "$cluster_bin/pg_ctl" --pgdata="$many_directory/data" --mode=immediate --silent stop
  cluster_start "$many_directory"
  in_databases "SELECT public.invoke_cron_endpoint('/round')" "${all_databases[@]}" >/dev/null
  await_sent /round "$many_databases" "${all_databases[@]}"
  took=$(in_databases "SELECT extract(epoch FROM requested_at), extract(epoch FROM first_sent_at)
                       FROM wee5_cron.invocation WHERE endpoint_path = '/round'" "${all_databases[@]}" |
    awk -F'|' '{ if ($1 > made) made = $1; if ($2 > sent) sent = $2 } END { printf "%.1f", sent - made }')
  row "a call in each of $many_databases databases, 16 processes, restart" "$took s" - '<= 10 s' "$took <= 10"
}

# A minutely job in each. The first figure counts pg_cron's delays, too: from the tick's minute. The second one begins when
# pg_cron has started the job's session, and its call is made.
row_databases_ticks() {
  local minutes=10 ticks worst ours
  if ((calls < 100000)); then minutes=2; fi
  start_many_databases
  in_postgres "SELECT cron.schedule_in_database('tick' || n, '* * * * *', 'SELECT invoke_cron_endpoint(''/tick'')', 'd' || n)
               FROM generate_series(1, $many_databases) n" >/dev/null
  # A look at all of them takes seconds of the processors. So first at one.
  await_sent /tick "$minutes" 1
  await_sent /tick $((minutes * many_databases)) "${all_databases[@]}"
  in_postgres 'SELECT cron.unschedule(jobid) FROM cron.job' >/dev/null
  read -r ticks worst ours < <(in_databases "SELECT extract(epoch FROM first_sent_at - date_trunc('minute', requested_at)),
                                                    extract(epoch FROM first_sent_at - requested_at)
                                             FROM wee5_cron.invocation WHERE endpoint_path = '/tick'" "${all_databases[@]}" |
    awk -F'|' '{ ++n; if ($1 > worst) worst = $1; if ($2 > ours) ours = $2 } END { printf "%d %.1f %.1f\n", n, worst, ours }')
  row "$ticks ticks in $many_databases databases in $minutes minutes, longest delay" "$worst s" - '<= 10 s' "$worst <= 10"
  row '... from the call in its session to the wire' "$ours s" - '<= 10 s' "$ours <= 10"
}

# Each of sixteen has work for a while: whoever has to wait gets a turn nevertheless, ten seconds later and as soon as a worker's
# last requests have ended.
row_databases_busy() {
  local took
  start_many_databases
  in_databases "ALTER DATABASE :\"DBNAME\" SET wee5_cron.max_in_flight = 4" "${busy_databases[@]}" >/dev/null
  in_databases "SELECT count(public.invoke_cron_endpoint('/some')) FROM generate_series(1, 2000)" "${busy_databases[@]}" >/dev/null
  in_databases "SELECT public.invoke_cron_endpoint('/seventeenth')" 17 >/dev/null
  await_sent /seventeenth 1 17
  took=$(in_databases "SELECT round(extract(epoch FROM first_sent_at - requested_at), 1)
                       FROM wee5_cron.invocation WHERE endpoint_path = '/seventeenth'" 17)
  row 'a call in a 17th database while 16 are busy' "$took s" - '<= 11 s' "$took <= 11"
}

# The launcher looks once at each database without the extension.
row_databases_without() {
  local launcher before after seconds=60 more=1000 n
  if ((calls < 100000)); then seconds=10 more=100; fi
  start_many_databases
  say "creating $more databases without the extension" >&2
  for n in $(seq "$more"); do echo "CREATE DATABASE without$n STRATEGY wal_log;"; done | cluster_psql "$many_directory"
  as_owner "$cluster_bin/pg_ctl" --pgdata="$many_directory/data" --mode=fast --silent restart \
    --options="-p $cluster_port" >/dev/null
  launcher=$(in_postgres "SELECT pid FROM pg_stat_activity WHERE backend_type = 'wee5_cron launcher'")
  # The first look is over when no worker has started for a while.
  until before=$(switches_of "$launcher") && sleep 5 && [[ $(switches_of "$launcher") == "$before" ]]; do :; done
  sleep "$seconds"
  after=$(switches_of "$launcher")
  row "wake-ups of the launcher with $more databases without, $seconds s" "$((after - before))" - 0 "$after == $before"
}
