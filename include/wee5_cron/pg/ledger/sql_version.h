#pragma once

#include <cstring>

#include "wee5_cron/core/request/version.hpp"
// Postgres's headers last.
#include "wee5_cron/pg/boundary/boundary.h"
#include "wee5_cron/pg/boundary/kept_plan.h"
#include "wee5_cron/pg/boundary/pg_extension_lookup.h"
#include "wee5_cron/pg/ledger/end_call.h"

namespace wee5::pg {

// The library serves the SQL of every released version: a database may run with an earlier one from the restart with
// the new library until ALTER EXTENSION ... UPDATE. These are the statements of the library that an earlier version
// has not got. A column that it has not got reads as NULL: readable_column(). call/sql_of_0_1_0.cpp has the functions
// that only an earlier version calls.

struct VersionedStatement {
  const char* text;
  SPIPlanPtr plan;
};

struct SqlVersion {
  const char* name;
  // Ends a call whose row is not locked, and returns a row if it did. $1 id, $2 status, $3 reason, $4 error, $5 hint
  VersionedStatement end_call;
  // Returns ids, paths and the ids of the newer calls that replace them; 0: cancel() was called. $1 how many
  VersionedStatement cancellations;
  // Ends accepted calls that the app completed, or whose time is over. Returns `ended` and `alerts`. $1 the ids of the
  // calls; NULL: all. No text: no call is accepted.
  VersionedStatement settle_accepted;
  // Returns watched_to and look_again: watch_some_jobs(). $1 the jobid to begin after, $2 how many jobs
  VersionedStatement watch_jobs;
  VersionedStatement disarm_subscriber;
  // Sends the pending alerts. $1 whether to call the webhook, too
  VersionedStatement send_alerts;
  // Returns shortest (in microseconds) and fingerprint: shortest_policy().
  VersionedStatement retention_policies;
  // $1 page size, $2 and $3 keep_succeeded and keep_failed in minutes, $4 the shortest retention in seconds, $5
  // walked_to
  VersionedStatement prune_page;
};

// Oldest first. The last one is the library's own.
inline SqlVersion sql_versions[] = {
    {"0.1.0",
     {"WITH ended AS (UPDATE wee5_cron.invocation SET status = $2, reason = $3, error = $4, hint = $5,"
      "  next_attempt_at = NULL, finished_at = pg_catalog.clock_timestamp(),"
      "  duration = pg_catalog.clock_timestamp() - first_sent_at"
      " WHERE id IN (" WEE5_OPEN_AND_FREE("array[$1]") ") RETURNING 1) SELECT FROM ended",
      nullptr},
     {"SELECT c.id, (SELECT i.endpoint_path FROM wee5_cron.invocation i WHERE i.id = c.id), 0::pg_catalog.int8"
      " FROM (SELECT DISTINCT invocation_id::pg_catalog.int8 AS id FROM wee5_cron.cancellation LIMIT $1) c",
      nullptr},
     {nullptr, nullptr},
     {"SELECT NULL::pg_catalog.int8 AS watched_to, wee5_cron.watch_jobs() AS look_again", nullptr},
     {"DELETE FROM wee5_cron.armed", nullptr},
     {"SELECT wee5_cron.tell_alerts($1)", nullptr},
     {"SELECT NULL::pg_catalog.int8 AS shortest, ''::pg_catalog.text AS fingerprint", nullptr},
     {"SELECT walked_to, left_over, next_due, NULL::pg_catalog.int8 AS first_pending FROM wee5_cron.prune_page($1,"
      "  pg_catalog.make_interval(mins => $2), pg_catalog.make_interval(mins => $3), $5)",
      nullptr}},
    {core::kVersion,
     {"SELECT wee5_cron.end_call(free.id, $2, $3, $4, $5) FROM (" WEE5_OPEN_AND_FREE("array[$1]") ") free", nullptr},
     {"SELECT c.id, (SELECT i.endpoint_path FROM wee5_cron.invocation i WHERE i.id = c.id), c.replaced_by"
      " FROM (SELECT invocation_id::pg_catalog.int8 AS id,"
      "        CASE WHEN pg_catalog.bool_and(replaced_by IS NOT NULL) THEN pg_catalog.max(replaced_by) ELSE 0 END"
      "          AS replaced_by"
      "       FROM wee5_cron.cancellation GROUP BY 1 LIMIT $1) c",
      nullptr},
     {"SELECT ended, alerts FROM wee5_cron.settle_accepted($1)", nullptr},
     {"SELECT watched_to, look_again FROM wee5_cron.watch_some_jobs($1, $2, '10 ms')", nullptr},
     {"SELECT wee5_cron.disarm_subscriber()", nullptr},
     {"SELECT wee5_cron.send_alerts($1)", nullptr},
     {"SELECT (pg_catalog.date_part('epoch', p.shortest) * 1000000)::pg_catalog.int8 AS shortest,"
      " COALESCE(p.fingerprint, '') AS fingerprint FROM wee5_cron.shortest_policy() p",
      nullptr},
     {"SELECT walked_to, left_over, next_due, first_pending FROM wee5_cron.prune_page($1,"
      "  pg_catalog.make_interval(mins => $2), pg_catalog.make_interval(mins => $3),"
      "  pg_catalog.make_interval(secs => $4), $5)",
      nullptr}}};
inline SqlVersion* const own_sql = &sql_versions[lengthof(sql_versions) - 1];

// NULL: the library does not serve it.
inline SqlVersion* find_sql_version(const char* name) {
  for (SqlVersion& version : sql_versions)
    if (strcmp(version.name, name) == 0) return &version;
  return nullptr;
}

// The SQL of this database, as the worker's transaction found it.
inline SqlVersion* database_sql = own_sql;

// Whether the installed SQL is of an earlier version, as a lookup in the catalog has it now.
inline bool sql_is_earlier() {
  ExtensionInfo extension;
  find_extension("wee5_cron", &extension);
  const SqlVersion* version = find_sql_version(extension.version);
  return version != nullptr && version != own_sql;
}

}  // namespace wee5::pg
