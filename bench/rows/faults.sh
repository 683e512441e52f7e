# shellcheck shell=bash
# What a death costs: nothing that was committed. And how long a stop takes while requests are on the wire.

# Of each of these, while 5,000 calls wait or are on the wire.
victims=(worker launcher caller checkpointer server)

row_lost() {
  local arrivals=$bench_directory/arrivals port pid victim lost total=$((5000 * ${#victims[@]}))
  empty_ledger
  coproc ARRIVALS { exec "$bench_tools/bench/bench_arrivals" "$arrivals"; }
  pid=$ARRIVALS_PID
  read -r port <&"${ARRIVALS[0]}"
  set_api_url "http://127.0.0.1:$port"
  for victim in "${victims[@]}"; do
    sql "$(many_calls 5000)" >/dev/null
    "kill_$victim"
    until [[ $(sql 'SELECT count(*) FROM wee5_cron.invocation WHERE finished_at IS NULL' 2>/dev/null) == 0 ]]; do sleep 0.2; done
  done
  kill "$pid"
  wait "$pid" 2>/dev/null || true
  set_api_url "http://127.0.0.1:$nginx_port"
  cut -d' ' -f1 "$arrivals" | sort -u >"$arrivals.ids"
  sql "SELECT id FROM wee5_cron.invocation WHERE status = 'succeeded'" | sort >"$arrivals.recorded"
  # Delivered as well as recorded.
  lost=$((total - $(comm -12 "$arrivals.ids" "$arrivals.recorded" | wc -l)))
  row "lost after the death of ${victims[*]}" "$lost of $total" - 0 "$lost == 0"
}

kill_process() { as_owner kill -KILL "$1"; }
kill_worker() { kill_process "$(worker_pid)"; }
kill_launcher() { kill_process "$(launcher_pid)"; }
kill_checkpointer() { kill_process "$(sql "SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'")"; }
# A caller: its own transaction is rolled back, those of others are not.
kill_caller() {
  sql "BEGIN; $(many_calls 1000); SELECT pg_sleep(600)" >/dev/null 2>&1 &
  local caller=''
  until [[ -n $caller ]]; do caller=$(sql "SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep'"); done
  kill_process "$caller"
}
kill_server() {
  as_owner "$cluster_bin/pg_ctl" --pgdata="$bench_directory/data" --mode=immediate --silent stop
  cluster_start "$bench_directory"
  bench_set_connection
}

# milliseconds <command...>
milliseconds() {
  local began=$EPOCHREALTIME
  "$@" >/dev/null 2>&1
  calculate "($EPOCHREALTIME - $began) * 1000" %.0f
}

row_stop() {
  local stopped restarted
  empty_ledger
  hang_200
  stopped=$(milliseconds as_owner "$cluster_bin/pg_ctl" --pgdata="$bench_directory/data" --mode=fast --silent stop)
  cluster_start "$bench_directory"
  bench_set_connection
  until [[ $(sql 'SELECT in_flight FROM wee5_cron.worker WHERE pid IS NOT NULL') == 200 ]]; do sleep 0.05; done
  restarted=$(milliseconds as_owner "$cluster_bin/pg_ctl" --pgdata="$bench_directory/data" --mode=fast --silent \
    --options="-p $cluster_port" --log="$bench_directory/server.log" restart)
  row 'fast stop / restart, 200 requests on the wire' "$stopped / $restarted ms" - '< 1000 ms' \
    "$stopped < 1000 && $restarted < 1000"
  sql 'ALTER DATABASE postgres RESET wee5_cron.max_in_flight' >/dev/null
  forget_queue
}
