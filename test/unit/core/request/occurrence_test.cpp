#include "wee5_cron/core/request/occurrence.hpp"

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <string_view>

namespace wee5::core {
namespace {

using namespace std::string_view_literals;

constexpr std::string_view kArmingId = "\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f"sv;

Occurrence poll() { return {kArmingId, "app", "poll-activities", 1764288000, "GET", "/api/cron/poll-activities", ""}; }

std::string key_of(const Occurrence& occurrence, std::int64_t number = 1) {
  return uuid_text(occurrence_key(occurrence, number));
}

// Computed with Python's hashlib.
TEST(OccurrenceKey, IsTheHashOfAllFieldsWithTheirLengths) {
  EXPECT_EQ(key_of(poll()), "50d103fc-83b7-8c21-a591-02a941a6c1ed");
  EXPECT_EQ(key_of({kArmingId, "app", "t\xC3\xA4glich", 1764288000, "POST", "/x?y=1", R"({"a": 1})"}, 2),
            "b0ed8f68-aba2-86c0-90e6-64265128780d");
}

TEST(OccurrenceKey, IsAUuidOfVersion8) {
  for (std::int64_t number = 1; number < 200; ++number) {
    const Uuid key = occurrence_key(poll(), number);
    EXPECT_EQ(key[6] >> 4U, 8);
    EXPECT_EQ(key[8] >> 6U, 2);
  }
}

TEST(OccurrenceKey, DiffersIfAnyFieldDiffers) {
  std::set<std::string> keys = {key_of(poll())};
  const auto is_new = [&keys](const Occurrence& occurrence, std::int64_t number = 1) {
    return keys.insert(key_of(occurrence, number)).second;
  };
  EXPECT_TRUE(is_new(poll(), 2));
  for (const auto member : {&Occurrence::arming_id, &Occurrence::job_owner, &Occurrence::job_name, &Occurrence::method,
                            &Occurrence::endpoint_path, &Occurrence::body}) {
    Occurrence other = poll();
    other.*member = "another";
    EXPECT_TRUE(is_new(other));
  }
  Occurrence later = poll();
  later.scheduled_at += 60;
  EXPECT_TRUE(is_new(later));
}

// The same characters, cut elsewhere: without lengths they would be one text.
TEST(OccurrenceKey, DoesNotMistakeOneFieldForAnother) {
  const auto key = [](std::string_view owner, std::string_view name, std::string_view path, std::string_view body) {
    return key_of({kArmingId, owner, name, 1, "GET", path, body});
  };
  const std::set<std::string> keys = {key("ab", "c", "/x", ""), key("a", "bc", "/x", ""), key("", "abc", "/x", ""),
                                      key("ab", "c", "/", "x"), key("ab", "c/", "x", ""), key("1:a", "bc", "/x", "")};
  EXPECT_EQ(keys.size(), 6U);
  // "1" and "0" of the number against the body's end.
  EXPECT_NE(key_of({kArmingId, "a", "b", 1, "POST", "/x", "1"}, 1),
            key_of({kArmingId, "a", "b", 1, "POST", "/x", ""}, 11));
}

TEST(Trace, IdIsTheHashOfTheKeyAndNotTheKey) {
  // printf 'trace0f3b5a52-6a3e-4c5e-8e5e-1a2b3c4d5e6f' | sha256sum
  EXPECT_EQ(trace_id("0f3b5a52-6a3e-4c5e-8e5e-1a2b3c4d5e6f"), "011988f0ecb0009a0730de34d184c005");
}

TEST(Trace, EachAttemptHasItsOwnParent) {
  const std::string key = "0f3b5a52-6a3e-4c5e-8e5e-1a2b3c4d5e6f";
  EXPECT_EQ(traceparent(key, 42, 3, true), "00-" + trace_id(key) + "-00000000002a0003-01");
  EXPECT_EQ(traceparent(key, 42, 4, false), "00-" + trace_id(key) + "-00000000002a0004-00");
  EXPECT_EQ(traceparent(key, 9'000'000'000'000, 1, true), "00-" + trace_id(key) + "-082f79cd90000001-01");
  // All zeros are no parent id.
  EXPECT_EQ(traceparent(key, 0, 0, true), "00-" + trace_id(key) + "-0000000000000001-01");
}

}  // namespace
}  // namespace wee5::core
