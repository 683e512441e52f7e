# Statements of sql/common and sql/portable as they may run again and again: what exists is replaced, or left as it is.
{
  if (statement == "" && ($0 ~ /^--/ || $0 ~ /^[ \t]*$/)) { print; next }
  statement = statement $0 "\n"
  quotes += gsub(/\$\$/, "&")
  if (quotes % 2 != 0 || $0 !~ /;[ \t]*(--.*)?$/) next
  # Each function has one COMMENT, which names its signature. A second definition would replace the first one.
  if (match(statement, /^COMMENT ON (FUNCTION|PROCEDURE) [^)]*\)/) && ++comments[substr(statement, 1, RLENGTH)] > 1) {
    print "idempotent.awk finds this twice: " substr(statement, 1, RLENGTH) >"/dev/stderr"
    failed = 1
  }
  # A session that has standard_conforming_strings off reads a backslash in a literal in another way.
  if (statement ~ /^CREATE (FUNCTION|PROCEDURE) / && index(statement, "\\")) {
    sub(/ SET search_path = pg_catalog, pg_temp/, "& SET standard_conforming_strings = on", statement)
  }
  if (statement ~ /^CREATE (FUNCTION|PROCEDURE|VIEW|TRIGGER) /) {
    sub(/^CREATE /, "CREATE OR REPLACE ", statement)
  } else if (statement ~ /^CREATE (UNLOGGED TABLE|TABLE|SEQUENCE|INDEX|UNIQUE INDEX|SCHEMA) /) {
    match(statement, /^CREATE (UNLOGGED TABLE|TABLE|SEQUENCE|INDEX|UNIQUE INDEX|SCHEMA) /)
    statement = substr(statement, 1, RLENGTH) "IF NOT EXISTS " substr(statement, RLENGTH + 1)
  } else if (statement ~ /^CREATE TYPE /) {
    split(statement, word, " ")
    statement = "DO $type$\nBEGIN\n  IF pg_catalog.to_regtype('" word[3] "') IS NULL THEN\n    " statement "  END IF;\nEND\n$type$;\n"
  } else if (statement ~ /^ALTER TABLE [^ ]+ REPLICA IDENTITY FULL;/) {
    # It locks the table against calls, even if it changes nothing.
    split(statement, word, " ")
    statement = "DO $identity$\nBEGIN\n  IF (SELECT c.relreplident FROM pg_class c WHERE c.oid = '" word[3] "'::regclass) <> 'f' THEN\n    " statement "  END IF;\nEND\n$identity$;\n"
  } else if (statement !~ /^(COMMENT ON|ALTER FUNCTION|ALTER TABLE|ALTER SEQUENCE|DO|SELECT) /) {
    print "idempotent.awk does not know how to repeat: " statement >"/dev/stderr"
    failed = 1
  }
  printf "%s", statement
  statement = ""
  quotes = 0
}
END { exit failed || statement != "" }
