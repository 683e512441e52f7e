#include "wee5_cron/core/request/occurrence.hpp"

#include <algorithm>
#include <cstddef>

#include "wee5_cron/core/text/ascii.hpp"
#include "wee5_cron/core/text/sha256.hpp"

namespace wee5::core {
namespace {

void append_hex_digits(std::string& out, const unsigned char* bytes, std::size_t count) {
  const std::size_t begin = out.size();
  for (std::size_t i = 0; i < count; ++i) append_hex(out, bytes[i]);
  std::transform(out.begin() + static_cast<std::ptrdiff_t>(begin), out.end(),
                 out.begin() + static_cast<std::ptrdiff_t>(begin), to_lower);
}

// Without the length, "a" + "bc" and "ab" + "c" would be the same text.
void append_field(std::string& out, std::string_view field) {
  out += std::to_string(field.size());
  out += ':';
  out += field;
}

}  // namespace

std::string uuid_text(const Uuid& uuid) {
  std::string text;
  for (std::size_t i = 0; i < uuid.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    append_hex_digits(text, &uuid.at(i), 1);
  }
  return text;
}

Uuid occurrence_key(const Occurrence& occurrence, std::int64_t number) {
  std::string text;
  append_field(text, occurrence.arming_id);
  append_field(text, occurrence.job_owner);
  append_field(text, occurrence.job_name);
  append_field(text, std::to_string(occurrence.scheduled_at));
  append_field(text, occurrence.method);
  append_field(text, occurrence.endpoint_path);
  append_field(text, occurrence.body);
  append_field(text, std::to_string(number));
  const Sha256 digest = sha256(text);
  Uuid key{};
  std::copy_n(digest.begin(), key.size(), key.begin());
  key[6] = static_cast<unsigned char>((key[6] & 0x0FU) | 0x80U);  // version 8
  key[8] = static_cast<unsigned char>((key[8] & 0x3FU) | 0x80U);  // the variant of RFC 9562
  return key;
}

std::string trace_id(std::string_view idempotency_key) {
  constexpr std::size_t kTraceIdBytes = 16;
  const Sha256 digest = sha256("trace" + std::string(idempotency_key));
  std::string id;
  append_hex_digits(id, digest.data(), kTraceIdBytes);
  return id;
}

std::string traceparent(std::string_view idempotency_key, std::int64_t invocation_id, int attempt, bool sampled) {
  // Ids are counted from 1: this many bits are never full. All zeros would make the header invalid.
  std::uint64_t parent =
      (static_cast<std::uint64_t>(invocation_id) << 16U) | (static_cast<unsigned>(attempt) & 0xFFFFU);
  if (parent == 0) parent = 1;
  std::array<unsigned char, 8> bytes{};
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    bytes.at(i) = static_cast<unsigned char>(parent >> (8 * (bytes.size() - 1 - i)));
  }
  std::string text = "00-" + trace_id(idempotency_key) + "-";
  append_hex_digits(text, bytes.data(), bytes.size());
  return text + (sampled ? "-01" : "-00");
}

}  // namespace wee5::core
