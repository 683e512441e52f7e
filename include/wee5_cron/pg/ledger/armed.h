#pragma once

#include "wee5_cron/pg/boundary/pg_extension_lookup.h"

namespace wee5::pg {

// Whether this database makes calls now, and if not, why. sql/common/12_armed.sql says what the mark is.
enum class CallPermit {
  kGranted,
  kDisabled,    // wee5_cron.enabled is off
  kConverting,  // pg_createsubscriber has promoted this copy, and is about to make it a subscriber
  kRenamed,     // the schema wee5_cron has another name
  kSubscriber,  // the ledger comes from another database, which makes the calls
  kDisarmed     // disarm() was called
};

// In a transaction with an active snapshot.
CallPermit call_permit();

// The text for wee5_cron.worker.last_error if the permit is not granted.
const char* explain_permit(CallPermit permit);

// Raises 55000 if this database makes no calls. Remembers what it saw until something may have changed.
void require_armed();

// For a session that waits for a call: raises the same error if calls are switched off, even after the session's
// command began. Nobody would send the call, and the wait would never end.
void require_sender();

// Removes the mark of a database that has one although it is a subscriber.
void disarm_subscriber(const ExtensionInfo* extension);

inline constexpr int kArmingIdBytes = 16;

// The random bytes that arm() stored. The idempotency keys of a job's calls are made from them. Physical copies have
// the same bytes, and only the owner can read them. NULL if there are none (not armed, or the SQL is of 0.1.0). Valid
// until the next call of this function. After require_armed(), this does not read the table again.
const unsigned char* arming_id();

}  // namespace wee5::pg
