# shellcheck shell=bash
# Runs examples/app for a cluster.

# example_app_start <directory> <secret>: starts the app on a free port, with its log in <directory>/app.log; sets app_pid
# and app_url.
example_app_start() {
  local directory=$1 secret=$2
  # A copy, because the owner of the cluster may be unable to read the work tree.
  cp -R "$source_root/examples/app" "$directory/app"
  chmod -R a+rX "$directory/app"
  # Created before the app runs, because the loop below may read it first.
  : >"$directory/app.log"
  # exec, so that the process id is node's. The secret is in its environment, not in its arguments.
  # setsid, so that Ctrl-C reaches only the script, which then ends the app.
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
