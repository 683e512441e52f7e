# shellcheck shell=bash
# Debian packages: finds the versions of this release, and installs missing packages.

# versions_of <release>: sets postgres_major and clang_major to those of that Debian; false for an unknown one.
versions_of() {
  case "$1" in
    bookworm) postgres_major=15 clang_major=14 ;;
    trixie) postgres_major=17 clang_major=19 ;;
    # Debian unstable calls itself by the name of the release that it will become.
    sid | forky) postgres_major=18 clang_major=21 ;;
    *) return 1 ;;
  esac
}

# Sets postgres_major, clang_major and pg_config for this Debian release, and release to its name. PG_MAJOR in the
# environment chooses another PostgreSQL, e.g. one from apt.postgresql.org.
choose_versions() {
  release=''
  if [[ -r /etc/os-release ]]; then
    # shellcheck disable=SC1091
    release=$(. /etc/os-release && echo "${VERSION_CODENAME:-${ID:-}}")
  fi
  if ! versions_of "$release"; then
    [[ -n ${PG_MAJOR:-} ]] || give_up "made for Debian 12, 13 and unstable, this is '$release'" \
      "On another system with apt, name the PostgreSQL version: PG_MAJOR=16 ${0##*/}"
    clang_major=14
  fi
  postgres_major=${PG_MAJOR:-$postgres_major}
  clang_major=${CLANG_MAJOR:-$clang_major}
  # By its full path: sudo has a PATH of its own, and the pg_config that is found first may be another version's.
  pg_config=/usr/lib/postgresql/$postgres_major/bin/pg_config
}

# packages_for <part of the check...>: prints the Debian packages that these parts need, a line each; without node and
# npm, which may be there from elsewhere.
packages_for() {
  local part
  for part; do
    case "$part" in
      format) echo "clang-format-$clang_major" ;;
      shell) echo shellcheck ;;
      cppcheck) echo cppcheck ;;
      package)
        printf '%s\n' build-essential ccache debhelper git libcurl4-openssl-dev make postgresql-server-dev-all \
          "postgresql-server-dev-$postgres_major"
        ;;
      tidy | unit | sanitize | fuzz)
        printf '%s\n' ccache g++ "clang-$clang_major" cmake ninja-build libcurl4-openssl-dev libssl-dev libgtest-dev libgmock-dev \
          openssl ca-certificates
        if [[ $part == fuzz || $part == sanitize ]]; then echo "libclang-rt-$clang_major-dev"; fi
        if [[ $part == tidy ]]; then printf '%s\n' make "clang-tidy-$clang_major" "postgresql-server-dev-$postgres_major"; fi
        ;;
      build | regress | isolation | valgrind | tap | readme | debian | static | patroni)
        printf '%s\n' ccache g++ make libcurl4-openssl-dev ca-certificates "postgresql-$postgres_major" \
          "postgresql-$postgres_major-cron" "postgresql-server-dev-$postgres_major"
        if [[ $part == build ]]; then printf '%s\n' "clang-$clang_major" binutils; fi
        if [[ $part == valgrind ]]; then echo valgrind; fi
        if [[ $part == debian ]]; then
          printf '%s\n' autopkgtest build-essential debhelper git lintian pgxnclient postgresql-server-dev-all python3
        fi
        if [[ $part == static ]]; then printf '%s\n' binutils bison build-essential dpkg-dev flex libssl-dev openssl python3 zlib1g-dev; fi
        if [[ $part == tap || $part == patroni ]]; then printf '%s\n' libipc-run-perl openssl; fi
        if [[ $part == patroni ]]; then printf '%s\n' patroni etcd-server iproute2; fi
        if [[ $part == readme ]]; then printf '%s\n' git iproute2; fi
        ;;
    esac
  done | sort -u
}

# Runs a command as root, with sudo if we are not root.
as_root() {
  if ((EUID == 0)); then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo -- "$@"
  else
    give_up "this needs root: $*" 'Run it as root, or as a user who may use sudo.'
  fi
}

is_installed() {
  [[ $(dpkg-query --show --showformat='${db:Status-Status}' "$1" 2>/dev/null) == installed ]]
}

# Sets node to a Node of 18 or newer; false if there is none. For root, every user must be able to run it, because an
# unprivileged user will.
choose_node() {
  local candidates=(/usr/local/bin/node /usr/bin/node)
  if ((EUID != 0)); then candidates=("$(command -v node || true)" "${candidates[@]}"); fi
  for node in "${candidates[@]}"; do
    if [[ -x $node ]] && "$node" -e 'process.exit(parseInt(process.versions.node) >= 18 ? 0 : 1)' 2>/dev/null; then
      return 0
    fi
  done
  return 1
}

# Packages of servers start them. Nobody asked us for that, so policy-rc.d forbids it meanwhile, unless the machine has its own.
apt_install() {
  local policy=/usr/sbin/policy-rc.d status=0
  if [[ -e $policy ]]; then
    policy=''
  else
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
    as_root chmod 755 "$policy"
  fi
  # Waits for the lock: another apt may be running, such as that of a fresh machine's first boot.
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -qq -y --no-install-recommends install "$@" \
    </dev/null >"$apt_log" 2>&1 || status=$?
  if [[ -n $policy ]]; then as_root rm -f "$policy"; fi
  ((status == 0)) || { tail -n 20 "$apt_log" >&2; give_up "apt-get could not install: $*"; }
}

# Installs those of the named packages that are missing, and says which.
install_missing_packages() {
  local missing=() package
  for package in "$@"; do is_installed "$package" || missing+=("$package"); done
  if ((${#missing[@]} == 0)); then
    say 'packages: nothing is missing'
    return
  fi
  command -v apt-get >/dev/null || give_up "apt-get is missing, and so are: ${missing[*]}"
  say "packages: installing ${missing[*]}"
  apt_log=$(mktemp)
  as_root apt-get -o DPkg::Lock::Timeout=300 -qq update </dev/null >"$apt_log" 2>&1 ||
    { tail -n 20 "$apt_log" >&2; give_up 'apt-get update failed'; }
  if [[ " ${missing[*]} " == *" postgresql-$postgres_major "* ]]; then
    install_without_a_server_of_its_own "${missing[@]}"
  else
    apt_install "${missing[@]}"
  fi
  rm -f "$apt_log"
}

# The server's package creates and starts a cluster "main". Nobody asked us for that, so this installation prevents it.
install_without_a_server_of_its_own() {
  local setting=/etc/postgresql-common/createcluster.d/wee5-cron-no-main.conf
  apt_install postgresql-common
  as_root install -d /etc/postgresql-common/createcluster.d
  echo 'create_main_cluster = false' | as_root tee "$setting" >/dev/null
  # In a subshell, so that the setting disappears even if the installation fails.
  if (apt_install "$@"); then
    as_root rm -f "$setting"
  else
    as_root rm -f "$setting"
    exit 1
  fi
}
