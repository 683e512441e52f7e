# shellcheck shell=bash
# The copy of the work tree in which everything is checked, and the commands that run there. For scripts/check.

# Runs a command in the copy as its unprivileged owner, for at most ten minutes, or time_limit seconds.
in_tree() {
  (
    cd "${work_tree:-$tree}"
    export HOME=$directory TMPDIR=$directory/tmp
    # Objects are the same wherever the copy is: paths in them begin at the copy.
    export CCACHE_DIR=$objects CCACHE_BASEDIR=$directory CCACHE_NOHASHDIR=1 CCACHE_MAXSIZE=2G
    # Debian's compilers by way of ccache, also for what make or scripts/demo starts.
    exec env PATH="/usr/lib/ccache:$PATH" "${owner_command[@]}" timeout --kill-after=10 "${time_limit:-600}" "$@"
  )
}

# It compiles while other parts compile: a long time is not a sign of a fault.
pgxs() {
  time_limit=${time_limit:-3600} in_tree make PG_CONFIG="$pg_config" WEE5_WERROR=1 "$@"
}

# Pure computation gets a lower priority than the tests, which wait for each other's servers. So it may take long.
in_tree_nicely() {
  time_limit=3600 in_tree nice -n 10 "$@"
}

hand_over() {
  if ((EUID == 0)); then chown -R "$owner:" "$1"; fi
}

# What ccache keeps of earlier runs. A source without a warning in one run has none in the next.
objects=${XDG_CACHE_HOME:-$HOME/.cache}/wee5_cron_check

choose_objects() {
  if [[ -w $release_objects ]]; then
    objects=$release_objects
  elif ((EUID == 0)); then
    objects=$release_cache/$own_release.objects
    install -d -m 755 "$release_cache"
    install -d -m 700 -o "$owner" "$objects"
  fi
}

own_sources() {
  (cd "$tree" && find src include test bench -regex '.*\.\([ch]pp\|h\)' -print 2>/dev/null | sort)
}

# none_is_left <what they are>: shows the files on standard input. Fails if there are any.
none_is_left() {
  ! sed "s|^|$1: |" | grep .
}

# What the commands that have ended took of the processors, in seconds.
processor_seconds() {
  # Not in a pipe, whose shell has no such commands.
  times >"$directory/times"
  awk 'NR == 2 { split($1 "m" $2, part, /[ms]+/); print int(part[1] * 60 + part[2] + part[3] * 60 + part[4]) }' "$directory/times"
}
