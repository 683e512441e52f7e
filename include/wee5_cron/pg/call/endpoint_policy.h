#pragma once

#include "wee5_cron/core/outcome/retry_policy.hpp"
// Postgres's headers last.
#include "wee5_cron/pg/boundary/compat.h"
#include "wee5_cron/pg/boundary/json_headers.h"

namespace wee5::pg {

enum class Overlap { kDefault, kAllow, kSkip, kQueue };

// 24 days: libcurl takes no longer time.
constexpr int64 kMostTimeoutMs = PG_INT32_MAX;

// A row of wee5_cron.endpoint: the delivery policy of a path. palloc'd; texts in the server's encoding. A row that was
// restored may hold values that are out of bounds: they read as the default.
struct EndpointRow {
  char* endpoint_path;    // NULL: there is no row
  char* method;           // NULL, as below: the default
  Datum body;             // jsonb; 0: none
  Jsonb* headers;         // NULL: none
  Interval* timeout;      // NULL: the default
  int max_attempts;       // 0: the default
  char* retry_on;         // NULL: the default
  int64* retry_delays;    // milliseconds; NULL: the default
  int retry_delay_count;  //
  int64 retry_window;     // milliseconds; 0: the default
  int64 complete_within;  // milliseconds; 0: the default
  Overlap overlap;
  int max_in_flight;       // 0: no limit
  int max_response_bytes;  // -1: the default
};

// C++: what the row says of retries, the defaults for the rest.
core::RetryPolicy retry_policy_of(const EndpointRow* row);

// The policy of a call's path, looked up whole, then without its query. As it is committed now, whatever the snapshot
// of the transaction shows. Costs nothing while the table is empty, else an index look-up or two.
void find_endpoint(const char* path, EndpointRow* row);
// Whether a call of the path may wait until another one has ended: overlap = queue.
bool policy_lets_calls_wait(const char* path);

// Fills in from the path's policy what a call leaves open: a NULL `method`, `headers` or `timeout`, a `body` of 0.
// Afterwards `method` is set. The policy's body goes with the policy's method.
struct CallChoices {
  char* method;  // UTF-8
  Datum body;
  Jsonb* headers;
  Interval* timeout;
};
void take_over_policy(CallChoices* choices, const EndpointRow* row);

// Reads all rows, and returns true, if the table may have changed since this process last read them. If the caller
// could not use them, it calls forget_endpoints(), and the next call reads them again.
bool read_changed_endpoints(EndpointRow** rows, int* count);
void forget_endpoints();

// Another number whenever the table may have changed, as far as this process has read invalidations. A process that has
// not looked for the table yet does not notice changes.
uint64 endpoint_generation();

// An interval in milliseconds (a month has 30 days); -1 where it is negative, infinite or longer than a century.
int64 interval_milliseconds(const Interval* interval);

}  // namespace wee5::pg
