# shellcheck shell=bash
# The same work through pg_net, where the server has it: the peer, in the same run.

row_pg_net() {
  local rate count p50 p99 most=$((calls / 50))
  if ! pg_net_there; then
    echo 'pg_net: not available, skipped'
    return
  fi
  sql 'CREATE EXTENSION pg_net' >/dev/null
  sql "ALTER DATABASE postgres SET wee5_cron.transport = 'pg_net'" >/dev/null
  for count in $((most / 10)) "$most"; do
    empty_ledger
    rate=$(pg_net_rate "$count")
    point pg_net "$count" "$rate"
  done
  row "pg_net: $most calls, delivered and recorded" "$rate/s" "$(pg_net_ratio "$rate")" - 1
  read -r p50 p99 < <(latency_at 20 5 1 pg_net)
  row '  commit -> wire, idle, p50 / p99' "$p50 / $p99 ms" - - 1
  sql 'ALTER DATABASE postgres RESET wee5_cron.transport' >/dev/null
  sql 'DROP EXTENSION pg_net' >/dev/null
}

# Not the tests' stand-in, which has no library.
pg_net_there() { [[ -e $("$pg_config" --pkglibdir)/pg_net.so ]]; }

# Compared with the builtin engine, if that was measured in this run.
pg_net_ratio() { if [[ -n $base_rate ]]; then calculate "$1 / $base_rate" %.4f; else echo -; fi; }

# Its answers are recorded within a second of their arrival.
pg_net_rate() {
  local began=$EPOCHREALTIME
  sql "$(many_calls "$1")" >/dev/null
  until [[ $(sql 'SELECT count(*) FROM wee5_cron.invocation WHERE finished_at IS NULL') == 0 ]]; do sleep 0.05; done
  calculate "$1 / ($EPOCHREALTIME - $began)" %.0f
}
