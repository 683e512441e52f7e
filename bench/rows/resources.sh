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

