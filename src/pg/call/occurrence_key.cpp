// The key of a job's call for a tick, and the numbers of calls that are equal in everything else.

#include "wee5_cron/pg/call/occurrence_key.h"

#include <algorithm>
#include <optional>
#include <string_view>

#include "wee5_cron/core/jobs/cron_schedule.hpp"
#include "wee5_cron/core/request/occurrence.hpp"
// Postgres's headers last.
#include "wee5_cron/pg/boundary/boundary.h"
#include "wee5_cron/pg/boundary/unix_time.h"
#include "wee5_cron/pg/jobs/cron_clock.h"
#include "wee5_cron/pg/ledger/armed.h"

namespace wee5::pg {

namespace {

// The calls of one run, counted. A run is a transaction, or several of the same client statement, since a procedure may
// commit. Calls that a savepoint rolls back are counted, too, so no number is used twice.
struct Numbering {
  FullTransactionId transaction;
  TimestampTz statement;
  MemoryContext context;  // of the table; NULL: nothing was counted yet
  HTAB* counts;
};
Numbering numbering;

struct Count {
  pg_uuid_t unnumbered;  // the key of number 0, which no call gets
  int64 calls;
};

void start_counting() {
  if (numbering.context == nullptr)
    numbering.context = AllocSetContextCreate(TopMemoryContext, "wee5_cron equal calls", ALLOCSET_SMALL_SIZES);
  // If memory runs out below, the next call starts anew.
  numbering.counts = nullptr;
  MemoryContextReset(numbering.context);
  HASHCTL control;
  memset(&control, 0, sizeof(control));
  control.keysize = sizeof(pg_uuid_t);
  control.entrysize = sizeof(Count);
  control.hcxt = numbering.context;
  numbering.counts = hash_create("wee5_cron equal calls", 16, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

int64 next_number(const pg_uuid_t* unnumbered) {
  FullTransactionId transaction = GetTopFullTransactionId();
  TimestampTz statement = GetCurrentStatementStartTimestamp();
  bool same_run = numbering.counts != nullptr &&
                  (FullTransactionIdEquals(numbering.transaction, transaction) || numbering.statement == statement);
  if (!same_run) start_counting();
  numbering.transaction = transaction;
  numbering.statement = statement;
  bool found = false;
  Count* count = static_cast<Count*>(hash_search(numbering.counts, unnumbered, HASH_ENTER, &found));
  if (!found) count->calls = 0;
  return ++count->calls;
}

struct OccurrenceTexts {
  const char* owner;
  const char* job_name;
  const char* endpoint_path;
  const char* method;
  const char* body;
};

char* body_text(Datum body) {
  Jsonb* json = DatumGetJsonbP(body);
  return to_utf8_lossy(JsonbToCString(nullptr, &json->root, static_cast<int>(VARSIZE(json))));
}

bool ticks_are_shared(const char* schedule) {
  load_cron_clock();
  bool shared = false;
  CppFailure failure;
  if (!run_cpp(&failure, [&] {
        const std::optional<core::CronSchedule> parsed = core::CronSchedule::parse(schedule, cron_dialect());
        shared = parsed && parsed->interval_seconds() == 0;
      }))
    raise(&failure);
  return shared;
}

void compute(const OccurrenceTexts* texts, const unsigned char* arming_id, int64 tick, int64 number, pg_uuid_t* key) {
  CppFailure failure;
  if (!run_cpp(&failure, [&] {
        core::Occurrence occurrence;
        occurrence.arming_id = std::string_view(reinterpret_cast<const char*>(arming_id), kArmingIdBytes);
        occurrence.job_owner = texts->owner;
        occurrence.job_name = texts->job_name;
        occurrence.scheduled_at = tick;
        occurrence.method = texts->method;
        occurrence.endpoint_path = texts->endpoint_path;
        occurrence.body = view_or_empty(texts->body);
        const core::Uuid uuid = core::occurrence_key(occurrence, number);
        std::copy(uuid.begin(), uuid.end(), key->data);
      }))
    raise(&failure);
}

}  // namespace

pg_uuid_t* occurrence_key(const NewInvocation* row, Oid owner, const char* schedule) {
  if (row->job_name == nullptr || !row->has_scheduled_at || schedule == nullptr || !ticks_are_shared(schedule))
    return nullptr;
  OccurrenceTexts texts;
  texts.owner = to_utf8_lossy(GetUserNameFromId(owner, false));
  texts.job_name = to_utf8_lossy(pstrdup(row->job_name));
  texts.endpoint_path = to_utf8_lossy(pstrdup(row->endpoint_path));
  texts.method = row->method;
  texts.body = row->body != 0 ? body_text(row->body) : nullptr;
  const unsigned char* id = arming_id();
  if (id == nullptr) return nullptr;
  unsigned char arming[kArmingIdBytes];
  memcpy(arming, id, sizeof(arming));
  int64 tick = unix_seconds_of(row->scheduled_at);
  pg_uuid_t* key = static_cast<pg_uuid_t*>(palloc0(sizeof(pg_uuid_t)));
  compute(&texts, arming, tick, 0, key);
  compute(&texts, arming, tick, next_number(key), key);
  return key;
}

}  // namespace wee5::pg
