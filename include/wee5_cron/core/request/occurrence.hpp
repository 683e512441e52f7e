#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace wee5::core {

using Uuid = std::array<unsigned char, 16>;

// Lower case, in five groups.
std::string uuid_text(const Uuid& uuid);

// A call that a job makes for a tick. Two servers that run the same job for the same tick make the same occurrence.
// Texts are UTF-8.
struct Occurrence {
  std::string_view arming_id;  // only this project knows it, so nobody else can compute its keys
  std::string_view job_owner;
  std::string_view job_name;
  std::int64_t scheduled_at = 0;  // the tick, unix seconds
  std::string_view method;
  std::string_view endpoint_path;
  std::string_view body;  // empty: none
};

// The idempotency key: a UUID of version 8 (RFC 9562) from the SHA-256 of all fields and `number`, each as
// "<bytes>:<field>", so that no two occurrences have the same text. `number` counts from 1, and tells apart the calls
// of one transaction that are equal in everything else.
Uuid occurrence_key(const Occurrence& occurrence, std::int64_t number);

// The trace id of a call (W3C Trace Context), 32 hexadecimal digits: the first 16 bytes of SHA-256('trace' || key),
// with the key as it stands in the Idempotency-Key header. All attempts of a call share it. It goes to systems that
// must not learn the key.
std::string trace_id(std::string_view idempotency_key);

// The header's value: version 00, the trace id, a parent id of this attempt, and whether it is to be sampled.
std::string traceparent(std::string_view idempotency_key, std::int64_t invocation_id, int attempt, bool sampled);

}  // namespace wee5::core
