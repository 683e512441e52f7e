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

# The tests of regress again, with every process of the server under valgrind. They are slow, and use one processor. So they run in
# parallel with the parts after tidy, in a copy of the tree that nothing else uses.
valgrind_begun=''
valgrind_pid=''
begin_valgrind() {
  if [[ -n $valgrind_begun ]]; then return; fi
  valgrind_begun=yes
  needs_extension valgrind || return 0
  say 'valgrind: pg_regress is begun'
  valgrind_bindir "$directory/valgrind/bin" "$directory/valgrind/reports"
  cp -a "$tree" "$directory/valgrind/tree"
  hand_over "$directory/valgrind"
  {
    work_tree=$directory/valgrind/tree pgxs installcheck ISOLATION= REGRESS_PORTABLE= TAP_TESTS= PGCTLTIMEOUT=300 \
      EXTRA_REGRESS_OPTS="--bindir=$directory/valgrind/bin" >"$log/valgrind" 2>&1 </dev/null || echo "$?" >"$log/valgrind.status"
  } &
  valgrind_pid=$!
}

check_valgrind() {
  local status=0 reports=$directory/valgrind/reports
  begin_valgrind
  if [[ -z $valgrind_pid ]]; then return; fi
  say 'valgrind: what came of it'
  wait "$valgrind_pid" || true
  if [[ -e $log/valgrind.status ]]; then status=$(<"$log/valgrind.status"); fi
  count_pg_regress valgrind "$status" "$log/valgrind" || show_differences "$directory/valgrind/tree"
  if [[ -z $(ls "$reports") ]]; then
    count_failed 'valgrind: no process ran under it'
  elif [[ -n $(find "$reports" -type f -size +0) ]]; then
    count_failed 'valgrind has something to report'
    find "$reports" -type f -size +0 -exec head -n 60 {} + | sed -n '1,300s/^/   | /p'
  else
    count_passed
  fi
}

# show_differences [tree]
show_differences() {
  local file
  while IFS= read -r file; do
    echo "   --- ${file#"${1:-$tree}/"}"
    head -n 200 "$file" | sed 's/^/   | /'
  done < <(find "${1:-$tree}" -name regression.diffs -size +0)
}
