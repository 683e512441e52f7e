# shellcheck shell=bash
# Running examples/app beside a cluster.

# example_app_start <directory> <secret>: starts the app on a free port, with its log in <directory>/app.log; sets app_pid
# and app_url.
example_app_start() {
  local directory=$1 secret=$2
  # A copy: the owner of the cluster need not be able to read the work tree.
  cp -R "$source_root/examples/app" "$directory/app"
  chmod -R a+rX "$directory/app"
  # Before the app runs: the loop below may look first.
  : >"$directory/app.log"
  # exec: the process id is node's own. The secret stands in its environment, not in its arguments.
  # setsid: Ctrl-C is for the script, which ends the app.
  (cd "$directory/app" && CRON_SECRET=$secret PORT=0 exec setsid "${owner_command[@]}" "$node" server.js) \
    >>"$directory/app.log" 2>&1 </dev/null &
  app_pid=$!
  app_url=''
  while [[ -z $app_url ]]; do
    app_url=$(sed -n 's/^listening on //p' "$directory/app.log")
    kill -0 "$app_pid" 2>/dev/null || { app_pid=''; give_up 'the example app did not start'; }
    sleep 0.1
  done
}

example_app_stop() {
  [[ -n ${app_pid:-} ]] || return 0
  kill "$app_pid" 2>/dev/null || true
  wait "$app_pid" 2>/dev/null || true
  app_pid=''
}
