# Of the topic files of the extension, what an update can run again: functions, procedures and views, which replace their former
# versions, and comments. Tables and what belongs to them change by hand-written statements.
{
  if (statement == "" && ($0 ~ /^--/ || $0 ~ /^[ \t]*$/)) next
  statement = statement $0 "\n"
  quotes += gsub(/\$\$/, "&")
  if (quotes % 2 != 0 || $0 !~ /;[ \t]*(--.*)?$/) next
  if (sub(/^CREATE (FUNCTION|PROCEDURE|VIEW) /, "&", statement)) {
    sub(/^CREATE /, "CREATE OR REPLACE ", statement)
    print statement
  } else if (statement ~ /^COMMENT ON /) {
    print statement
  }
  statement = ""
  quotes = 0
}
