# shellcheck shell=bash
# Installs or removes a test fixture that stands in for another extension.
#
# The fixture is a separate version (CREATE EXTENSION ... VERSION 'wee5fixture'), so the real extension can be installed,
# too. The two share the real control file, which stays unchanged. PG_CONFIG names the server, as for the builds.

# extension_fixture <extension> install|remove
extension_fixture() {
  local extension=$1 action=${2:-} source_dir extension_dir script control
  source_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/${extension}_fixture
  extension_dir=$("${PG_CONFIG:-pg_config}" --sharedir)/extension
  script=$extension--wee5fixture.sql
  control=$extension_dir/$extension.control
  case "$action" in
    install)
      mkdir -p "$extension_dir"
      install -m 644 "$source_dir/$script" "$extension_dir/$script"
      [[ -e $control ]] || install -m 644 "$source_dir/$extension.control" "$control"
      ;;
    remove)
      rm -f "$extension_dir/$script"
      if [[ -e $control ]] && cmp --silent "$source_dir/$extension.control" "$control"; then
        rm -f "$control"
      fi
      ;;
    *)
      echo "usage: $0 install|remove" >&2
      exit 2
      ;;
  esac
}
