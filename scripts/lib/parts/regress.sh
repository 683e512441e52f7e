# shellcheck shell=bash
# The parts "regress", "isolation" and "valgrind".

# installcheck runs three runners; an empty variable turns one off.
check_regress() {
  needs_extension regress || return 0
  local status=0
  say 'regress: pg_regress'
  pgxs installcheck ISOLATION= TAP_TESTS= >"$log/regress" 2>&1 </dev/null || status=$?
  count_pg_regress regress "$status" "$log/regress" || show_differences
}

check_isolation() {
  needs_extension isolation || return 0
  local status=0
  say 'isolation: pg_isolation_regress'
  pgxs installcheck REGRESS= TAP_TESTS= >"$log/isolation" 2>&1 </dev/null || status=$?
  count_pg_regress isolation "$status" "$log/isolation" || show_differences
}

# The tests of regress again, with every process of the server under valgrind.
check_valgrind() {
  needs_extension valgrind || return 0
  local status=0 reports=$directory/valgrind/reports
  say 'valgrind: pg_regress'
  valgrind_bindir "$directory/valgrind/bin" "$reports"
  hand_over "$directory/valgrind"
  pgxs installcheck ISOLATION= REGRESS_PORTABLE= TAP_TESTS= PGCTLTIMEOUT=300 \
    EXTRA_REGRESS_OPTS="--bindir=$directory/valgrind/bin" >"$log/valgrind" 2>&1 </dev/null || status=$?
  count_pg_regress valgrind "$status" "$log/valgrind" || show_differences
  if [[ -z $(ls "$reports") ]]; then
    count_failed 'valgrind: no process ran under it'
  elif [[ -n $(find "$reports" -type f -size +0) ]]; then
    count_failed 'valgrind has something to report'
    find "$reports" -type f -size +0 -exec head -n 60 {} + | sed -n '1,300s/^/   | /p'
  else
    count_passed
  fi
}

show_differences() {
  local file
  while IFS= read -r file; do
    echo "   --- ${file#"$tree/"}"
    head -n 200 "$file" | sed 's/^/   | /'
  done < <(find "$tree" -name regression.diffs -size +0)
}
