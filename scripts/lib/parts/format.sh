# shellcheck shell=bash
# The parts "format" and "shell": what can be read from the files alone.

check_format() {
  local files
  mapfile -t files < <(own_sources)
  say "format: ${#files[@]} files with clang-format-$clang_major"
  count_command 'clang-format' "$log/format" in_tree "clang-format-$clang_major" --dry-run --Werror "${files[@]}" || true
  count_command 'the tests that SECURITY.md names' "$log/claims" named_tests_exist || true
  count_command 'the files that CONTRIBUTING.md names' "$log/places" named_files_exist || true
  count_command 'one version in all files' "$log/version" in_tree scripts/lib/one_version || true
  count_command 'the scripts of released versions' "$log/released" in_tree sh -c 'cd sql/released && sha256sum --check --strict SHA256SUMS' || true
  count_command 'the links of the documents' "$log/links" links_lead_somewhere || true
}

# Prints those of the files on standard input that a document names but that do not exist.
all_exist() {
  local file status=0
  while IFS= read -r file; do
    [[ -e $tree/$file ]] || { echo "$1 names $file, which is not there"; status=1; }
  done
  return "$status"
}

# A claim needs a test.
# shellcheck disable=SC2016  # no command, but how Markdown writes code
named_tests_exist() {
  grep -oE '`(test|regress)/[^` ]+`' "$tree/SECURITY.md" | tr -d '`' | sort -u | all_exist SECURITY.md
}

# Files are renamed: "Where is ..." has to follow.
named_files_exist() {
  sed -n '/^## Where is/,/^## [^W]/p' "$tree/CONTRIBUTING.md" | grep -oE '\b(include|scripts|sql|src|test)/[A-Za-z0-9_./-]+' |
    sort -u | all_exist CONTRIBUTING.md
}

check_shell() {
  local scripts
  mapfile -t scripts < <(cd "$tree" && grep -lrE --exclude-dir=node_modules '^#!.*\b(ba)?sh$' scripts .ci test bench debian packaging 2>/dev/null | sort)
  say "shell: ${scripts[*]}"
  count_command 'shellcheck' "$log/shell" in_tree shellcheck -x -P SCRIPTDIR "${scripts[@]}" || true
}
