# shellcheck shell=bash
# From the return of the commit to the caller until the first byte of the request reaches the server.

# latency_at <rate> <seconds> <connections> <name>: prints p50 and p99 in ms; all of them, sorted, go into a file of that
# name for the plot.
latency_at() {
  local arrivals=$bench_directory/arrivals commits=$bench_directory/commits all=$bench_directory/latency-$4 port pid
  coproc ARRIVALS { exec "$bench_tools/bench/bench_arrivals" "$arrivals"; }
  pid=$ARRIVALS_PID
  read -r port <&"${ARRIVALS[0]}"
  set_api_url "http://127.0.0.1:$port"
  sql "SELECT (wee5_cron.wait_for(public.invoke_cron_endpoint('/warm'))).id" >/dev/null 2>&1 || true
  bench_client calls /api/cron/poll-activities "$1" "$2" "$3" "$commits" >"$bench_directory/achieved"
  until [[ $(sql "SELECT count(*) FROM wee5_cron.invocation WHERE finished_at IS NULL") == 0 ]]; do sleep 0.2; done
  kill "$pid"
  wait "$pid" 2>/dev/null || true
  sort -k1,1 "$arrivals" >"$arrivals.sorted"
  sort -k1,1 "$commits" >"$commits.sorted"
  join "$commits.sorted" "$arrivals.sorted" | awk '{ print ($3 - $2) / 1000 }' | sort -n >"$all"
  awk '{ v[NR] = $1 } END { printf "%.2f %.2f\n", v[int((NR + 1) / 2)], v[int(NR * 0.99)] }' "$all"
  set_api_url "http://127.0.0.1:$nginx_port"
}

idle_p50='' idle_p99=''
measure_idle_latency() { read -r idle_p50 idle_p99 < <(latency_at 20 $((calls / 10000 + 5)) 1 idle); }

row_latency() {
  local p50 p99
  empty_ledger
  measure_idle_latency
  row 'commit -> wire, idle, p50 / p99' "$idle_p50 / $idle_p99 ms" - '<= 1 / 3 ms' "$idle_p50 <= 1 && $idle_p99 <= 3"
  read -r p50 p99 < <(latency_at 2000 $((calls / 10000)) 16 busy)
  row "commit -> wire at $(cat "$bench_directory/achieved") calls/s" "$p50 / $p99 ms" - '<= 2 / 10 ms' \
    "$p50 <= 2 && $p99 <= 10"
}

row_hanging() {
  local p50 p99
  empty_ledger
  if [[ -z $idle_p50 ]]; then measure_idle_latency; fi
  # These go to nginx; the fast ones to the server that notes the time: the api_url is read when a call is sent.
  hang_200
  read -r p50 p99 < <(latency_at 20 5 1 hanging)
  row '  the same while 200 calls hang' "$p50 / $p99 ms" "$(calculate "$p50 / $idle_p50")" 'as when idle' \
    "$p50 <= 1.5 * $idle_p50 + 0.2 && $p99 <= 2 * $idle_p99 + 1"
  sql 'ALTER DATABASE postgres RESET wee5_cron.max_in_flight' >/dev/null
}

# 200 calls of ten seconds are on the wire.
hang_200() {
  sql 'ALTER DATABASE postgres SET wee5_cron.max_in_flight = 256' >/dev/null
  sql "$(many_calls 200 /slow)" >/dev/null
  until [[ $(sql 'SELECT in_flight FROM wee5_cron.worker WHERE pid IS NOT NULL') == 200 ]]; do sleep 0.05; done
}
