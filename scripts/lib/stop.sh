# shellcheck shell=bash
# How scripts/check ends, also before its time: with nothing left behind.

# stoppable <function>: runs it in the background, and waits. Bash handles no signal while it waits for a command in the
# foreground, but it does while it waits for one in the background.
stoppable() {
  trap 'stop 130' INT
  trap 'stop 143' TERM HUP
  "$1" <&0 &
  wait "$!"
}

# stop <exit status>: ends what the function has started, and then the function, which cleans up. Suspended meanwhile, the function
# starts nothing new, and has nothing to wait for when it goes on.
stop() {
  local running=${!:-} started
  trap '' INT TERM HUP
  if [[ -n $running ]] && kill -STOP "$running" 2>/dev/null; then
    mapfile -t started < <(processes_below "$running")
    end_processes living "${started[@]}"
    kill -TERM "$running"
    kill -CONT "$running"
    wait "$running" || true
  fi
  exit "$1"
}

# Prints the processes that this one has started, and those that they have started.
processes_below() {
  cat /proc/[0-9]*/status 2>/dev/null | awk -v top="$1" '
    /^Pid:/ { pid = $2 }
    /^PPid:/ { parent[pid] = $2 }
    END {
      for (pid in parent) {
        for (above = parent[pid]; above in parent && above != top;) above = parent[above]
        if (above == top) print pid
      }
    }'
}

# Prints those of the processes that have not ended. A user cannot end what sudo runs as root.
living() {
  local pid
  for pid; do
    if [[ -e /proc/$pid/exe ]] && kill -0 "$pid" 2>/dev/null; then echo "$pid"; fi
  done
}

# Prints the processes that the tests may have left running: those that work in the directory, and no others. A server works in its
# data directory, so this includes the servers of the tests.
processes_in() {
  find /proc/[0-9]*/cwd -maxdepth 0 -user "$owner" -lname "$1*" 2>/dev/null | cut -d / -f 3
}

# end_processes <command...>: ends the processes that the command prints. Each signal has some seconds to be obeyed. A server that
# is killed leaves its shared memory behind. SIGQUIT ends it at once, and without that.
end_processes() {
  local signal processes patience
  for signal in TERM QUIT KILL; do
    mapfile -t processes < <("$@")
    ((${#processes[@]} > 0)) || return 0
    kill "-$signal" "${processes[@]}" 2>/dev/null || true
    for ((patience = 50; patience > 0; patience--)); do
      [[ -n $("$@") ]] || return 0
      sleep 0.1
    done
  done
}

# clean_up <directory of the check>: for the end of the shell, in whatever function that is. Variables of that function hide those of
# the same names here.
clean_up() {
  local status=$?
  trap '' INT TERM HUP
  cd /
  end_releases
  end_processes processes_in "$1"
  remove_fixtures
  if [[ -n $keep ]]; then say "kept: $1"; else rm -rf "$1"; fi
  exit "$status"
}
