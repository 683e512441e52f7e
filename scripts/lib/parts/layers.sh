# shellcheck shell=bash
# The part "layers": what includes what, how long it is, and what stands twice.

# Dependencies point one way: pg -> delivery -> core.
check_layers() {
  say 'layers: which file includes what'
  count_command 'no layer reaches into one above it' "$log/layers" layers_hold || true
  count_command 'no room reaches into one above it' "$log/rooms" rooms_hold || true
  count_command 'no file has more than 500 lines, and README.md no more than 300' "$log/lengths" files_fit || true
  count_command 'no SQL function has more than 75 lines' "$log/functions" sql_functions_fit || true
  count_command 'no block of six lines stands twice' "$log/repeats" nothing_repeats || true
  count_command 'SQL is ASCII' "$log/ascii" sql_is_ascii || true
  count_command "pg_cron's history is read in one place" "$log/cron-history" cron_history_in_one_place || true
  count_command 'arrays of eight-byte values are made in one place' "$log/eight-bytes" arrays_in_one_place || true
  count_command 'times are converted in one place' "$log/times" times_in_one_place || true
  count_command 'installed extensions are looked up in one place' "$log/installed" installed_in_one_place || true
  count_command 'common SQL does not ask for the edition' "$log/edition" editions_differ_by_definitions || true
  count_command 'the code has no other state than what is listed' "$log/state" state_is_listed || true
  count_command 'files that comments name are there' "$log/named" named_files_are_there || true
}

layers_hold() (
  status=0
  none_includes() { ! grep -rnE "^[[:space:]]*#[[:space:]]*include[[:space:]]*[<\"]($1)" "${@:2}" || status=1; }
  cd "$tree"
  none_includes '\.\./|curl/|postgres|fmgr|utils/|wee5_cron/(delivery|pg)/' src/core include/wee5_cron/core
  none_includes '\.\./|postgres|fmgr|utils/|wee5_cron/pg/' src/delivery include/wee5_cron/delivery
  none_includes '\.\./|curl/' src/pg include/wee5_cron/pg
  exit "$status"
)

# The README.md of a layer lists its rooms from the bottom to the top. A room includes its own headers and those of rooms
# below it. No file lies outside the rooms.
rooms_hold() (
  status=0
  cd "$tree"
  wrong() { echo "$1"; status=1; }
  for layer in core delivery pg; do
    mapfile -t rooms < <(sed -n 's/^## //p' "src/$layer/README.md")
    ((${#rooms[@]} > 1)) || wrong "src/$layer/README.md lists no rooms"
    for above in "${!rooms[@]}"; do
      for room in "${rooms[@]:0:above}"; do
        ! grep -rnE "^#include \"wee5_cron/$layer/${rooms[above]}/" "src/$layer/$room" "include/wee5_cron/$layer/$room" || status=1
      done
    done
    for path in "src/$layer"/*/ "include/wee5_cron/$layer"/*/; do
      room=$(basename "$path")
      [[ " ${rooms[*]} " == *" $room "* ]] || wrong "src/$layer/README.md does not list the room $room"
      (($(find "$path" -type f -name '*.[ch]*' | wc -l) <= 12)) || wrong "$path holds more than twelve files"
    done
    stray=$(find "src/$layer" "include/wee5_cron/$layer" -maxdepth 1 -name '*.[ch]*')
    [[ -z $stray ]] || wrong "outside the rooms: $stray"
  done
  exit "$status"
)

files_fit() (
  cd "$tree"
  long=$({ own_sources && find sql/common sql/native sql/portable -name '*.sql'; } | xargs wc -l |
    awk '$2 != "total" && $1 > 500 { print $2 " has " $1 " lines" }') || exit
  if [[ -n $long ]]; then echo "$long"; exit 1; fi
  if (($(wc -l <README.md) > 300)); then echo 'README.md has more than 300 lines'; exit 1; fi
)

# A screen has about 60 lines, and a single statement may need a few more. The style sheet of the pages is no logic.
sql_functions_fit() (
  cd "$tree"
  mapfile -t files < <(find sql/common sql/native sql/portable -name '*.sql' | sort)
  long=$(awk '
    FNR == 1 { name = "" }
    name == "" && /^CREATE (FUNCTION|PROCEDURE) / { name = $3; sub(/\(.*/, "", name); first = FNR; quotes = 0 }
    name != "" {
      quotes += gsub(/\$\$/, "&")
      if (quotes % 2 == 0 && /;[ \t]*$/) {
        lines = FNR - first + 1
        if (lines > 75 && name != "wee5_cron.page_style") print FILENAME ": " name " has " lines " lines"
        name = ""
      }
    }' "${files[@]}") || exit
  if [[ -n $long ]]; then echo "$long"; exit 1; fi
)

# Tests may repeat what they prepare, so that each of them can be read alone.
nothing_repeats() (
  cd "$tree"
  find src include sql/common sql/native sql/portable sql/updates scripts test/support -type f -not -path '*/node_modules/*' \
    \( -name '*.cpp' -o -name '*.[ch]' -o -name '*.hpp' -o -name '*.sql' -o -name '*.sh' -o -name '*.pm' -o -name '*.ts' \
    -o -name '*.js' -o -not -name '*.*' \) | sort | xargs scripts/lib/check_repeats
)
