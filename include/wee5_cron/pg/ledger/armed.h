#pragma once

#include "wee5_cron/pg/boundary/compat.h"

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

// For wee5_cron.worker.last_error, where the permit is not granted.
const char* explain_permit(CallPermit permit);

// Raises 55000 where calls are not made. Remembers what it saw as long as nothing can have changed.
void require_armed();

// For a session that waits for a call. Raises the same where calls are switched off, also since the session's command
// began: nobody sends an unsent call then, and the wait would never end.
void require_sender();

// Whether the database has a mark although it is a subscriber: disarm_subscriber() of the SQL takes it away.
bool subscriber_has_mark();

inline constexpr int kArmingIdBytes = 16;

// The random bytes that arm() stored, from which the keys of a job's calls are made: the same in physical copies,
// unknown to everybody but the owner. NULL where there are none (not armed, or the SQL is of 0.1.0). They are the
// caller's to read until the next call of this function. After require_armed() this costs no look at the table.
const unsigned char* arming_id();

}  // namespace wee5::pg
