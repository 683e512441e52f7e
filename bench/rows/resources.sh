# shellcheck shell=bash
# What the worker costs when it has nothing to do, and how much memory it needs when it has much to do.

switches_of() { awk '/^voluntary_ctxt_switches/ { print $2 }' "/proc/$1/status"; }

row_idle() {
  local seconds=60 worker launcher before after statements
  if ((calls < 100000)); then seconds=10; fi
  empty_ledger
  rate_of 100 >/dev/null
  # What follows from the last calls (flushes, a look at what is left) is over.
  sleep 5
  worker=$(worker_pid) launcher=$(launcher_pid)
  sql 'SELECT pg_stat_statements_reset()' >/dev/null
  before=$(($(switches_of "$worker") + $(switches_of "$launcher")))
  sleep "$seconds"
  after=$(($(switches_of "$worker") + $(switches_of "$launcher")))
  row "wake-ups of worker and launcher in $seconds s" "$((after - before))" - 0 "$after == $before"
  statements=$(sql "SELECT count(*) FROM pg_stat_statements WHERE query NOT LIKE '%pg_stat_statements%'")
  row '  statements in pg_stat_statements' "$statements" - 0 "$statements == 0"
  sql "SELECT query FROM pg_stat_statements WHERE query NOT LIKE '%pg_stat_statements%'" >&2
}

# What is the process's own. Not smaps_rollup's Private_*: that counts a page of shared_buffers as private as long as no
# other process has touched it.
private_mb() {
  awk '/^[0-9a-f]+-[0-9a-f]+ / { own = $2 ~ /p$/ } own && /^Private_/ { kb += $2 } END { printf "%.1f", kb / 1024 }' \
    "/proc/$1/smaps"
}
cpu_ms() { awk '{ printf "%.1f", $1 / 1e6 }' "/proc/$1/schedstat"; }

row_tls() {
  local worker before after mb each
  empty_ledger
  sql "ALTER DATABASE postgres SET wee5_cron.max_in_flight = 256" >/dev/null
  sql "ALTER SYSTEM SET wee5_cron.ca_file = '$bench_directory/nginx/cert.pem'" >/dev/null
  sql 'SELECT pg_reload_conf()' >/dev/null
  set_api_url "https://localhost:$nginx_tls_port"
  # A first one alone: reading the CA file is not a connection's cost.
  rate_of 1 >/dev/null
  worker=$(worker_pid)
  before=$(cpu_ms "$worker")
  sql "$(many_calls 256 /slow)" >/dev/null
  until [[ $(sql 'SELECT in_flight FROM wee5_cron.worker WHERE pid IS NOT NULL') == 256 ]]; do sleep 0.1; done
  # All handshakes are through when nginx waits: well before the ten seconds are over.
  until (($(ss -Htn state established "dport = :$nginx_tls_port" | wc -l) >= 256)); do sleep 0.1; done
  sleep 3
  after=$(cpu_ms "$worker")
  mb=$(private_mb "$worker")
  row 'private memory, 256 TLS connections' "$mb MB" - '< 48 MB' "$mb < 48"
  each=$(calculate "($after - $before) / 256")
  row '  CPU a new TLS connection' "$each ms" - '<= 2 ms' "$each <= 2"
  sql 'ALTER DATABASE postgres RESET wee5_cron.max_in_flight' >/dev/null
  set_api_url "http://127.0.0.1:$nginx_port"
  forget_queue
}

row_memory() {
  local worker small large
  empty_ledger
  forget_queue
  rate_of "$calls" >/dev/null
  worker=$(worker_pid)
  small=$(private_mb "$worker")
  rate_of $((10 * calls)) >/dev/null
  large=$(private_mb "$worker")
  row "private memory after $((11 * calls)) calls, and $calls" "$large / $small MB" "$(calculate "$large / $small")" \
    'as large' "$large <= $small * 1.1 + 1 && $large < 48"
}

# Without full-page images: how many there are depends on the checkpoints, not on the calls.
row_wal() {
  local before bytes each
  sql 'ALTER SYSTEM SET full_page_writes = off' >/dev/null
  sql 'SELECT pg_reload_conf()' >/dev/null
  empty_ledger
  before=$(sql 'SELECT pg_current_wal_insert_lsn()')
  rate_of "$calls" >/dev/null
  bytes=$(sql "SELECT pg_current_wal_insert_lsn() - '$before'::pg_lsn")
  sql 'ALTER SYSTEM RESET full_page_writes' >/dev/null
  sql 'SELECT pg_reload_conf()' >/dev/null
  each=$(calculate "$bytes / $calls / 1000")
  row 'WAL a delivered call, without full-page images' "$each kB" - '<= 0.9 kB' "$each <= 0.9"
}

# A session that waits for a call with a long body while others are recorded.
row_wait_for() {
  local id waiter before after others=10000
  empty_ledger
  id=$(sql "SELECT wee5_cron.invoke('/slow', 'POST', jsonb_build_object('text', repeat('x', 1000000)))")
  sql "SET application_name = bench_waits; SELECT 1 FROM wee5_cron.wait_for($id, '1 min')" >/dev/null &
  until waiter=$(sql "SELECT pid FROM pg_stat_activity WHERE application_name = 'bench_waits' AND wait_event_type = 'Extension'") &&
    [[ -n $waiter ]]; do
    sleep 0.05
  done
  before=$(private_mb "$waiter")
  rate_of "$others" >/dev/null
  after=$(private_mb "$waiter")
  [[ $(sql "SELECT status FROM wee5_cron.invocation WHERE id = $id") == sending ]] || give_up 'the call ended too early'
  row "memory of a wait_for(), before and after $others calls" "$before / $after MB" - '< 5 MB more' "$after - $before < 5"
  wait $!
}
