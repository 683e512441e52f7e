#include "wee5_cron/core/request/previous_secret.hpp"

#include <gtest/gtest.h>

#include <string>

namespace wee5::core {
namespace {

constexpr std::int64_t kNoon = std::int64_t{1'795'953'600} * 1'000'000;  // 2026-11-29 12:00 UTC

TEST(PreviousSecret, ReadsWhatItWrites) {
  const PreviousSecret written{R"(it's "old" \ )", "https://app.example.com/base", kNoon};
  const std::string document = write_previous_secret(written);
  EXPECT_EQ(document, R"({"secret": "it's \"old\" \\ ", "api_url": "https://app.example.com/base", "until": )"
                      R"("2026-11-29T12:00:00Z"})");
  const auto read = read_previous_secret(document);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->secret, R"(it's "old" \)") << "without the white space around it, as it is sent";
  EXPECT_EQ(read->api_url, written.api_url);
  EXPECT_EQ(read->until_us, kNoon);
}

TEST(PreviousSecret, ReadsDocumentsOfOthersOnlyIfValid) {
  const auto read = read_previous_secret(
      R"({"note": ["leaked"], "until": "2026-11-29 13:00:00.25+01", "api_url": "https://a", "secret": "x"})");
  ASSERT_TRUE(read);
  EXPECT_EQ(read->until_us, kNoon + 250'000);
  for (const char* document : {"", "secret", "[]", "{}", R"({"secret": "x", "api_url": "https://a"})",
                               R"({"secret": "x", "api_url": "https://a", "until": "tomorrow"})",
                               R"({"secret": "x", "api_url": "https://a", "until": 1795953600})",
                               R"({"secret": " ", "api_url": "https://a", "until": "2026-11-29T12:00:00Z"})",
                               R"({"secret": "a\nb", "api_url": "https://a", "until": "2026-11-29T12:00:00Z"})",
                               R"({"secret": "\u00e9", "api_url": "https://a", "until": "2026-11-29T12:00:00Z"})",
                               R"({"api_url": "https://a", "until": "2026-11-29T12:00:00Z"})",
                               R"({"secret": "x", "until": "2026-11-29T12:00:00Z"})"})
    EXPECT_FALSE(read_previous_secret(document)) << document;
}

TEST(PreviousSecret, IsRedactedEvenIfTheRestIsInvalid) {
  EXPECT_EQ(secret_of_document(R"({"secret": " x ", "until": "tomorrow"})"), "x");
  EXPECT_EQ(secret_of_document(R"({"secret": 1})"), "");
  EXPECT_EQ(secret_of_document("x"), "");
}

TEST(PreviousSecret, ReadsTimesOfRfc3339) {
  EXPECT_EQ(parse_rfc3339_us("2026-11-29T12:00:00Z"), kNoon);
  EXPECT_EQ(parse_rfc3339_us("2026-11-29t12:00:00z"), kNoon);
  EXPECT_EQ(parse_rfc3339_us("2026-11-29T17:30:00.000001+0530"), kNoon + 1);
  EXPECT_EQ(parse_rfc3339_us("2026-11-29T04:00:00-08:00"), kNoon);
  EXPECT_EQ(parse_rfc3339_us("1969-12-31T23:59:59.5Z"), -500'000);
  for (const char* text :
       {"2026-11-29", "2026-11-29T12:00Z", "2026-11-29T12:00:00", "2026-02-30T12:00:00Z", "2026-13-01T12:00:00Z",
        "0000-01-01T00:00:00Z", "2026-11-29T24:00:00Z", "2026-11-29T12:00:60Z", "2026-11-29T12:00:00.Z",
        "2026-11-29T12:00:00.1234567Z", "2026-11-29T12:00:00+15:00", "2026-11-29T12:00:00+1",
        "2026-11-29T12:00:00+01:0", " 2026-11-29T12:00:00Z", "2026-11-29T12:00:00Z ", "infinity"})
    EXPECT_EQ(parse_rfc3339_us(text), std::nullopt) << text;
}

TEST(PreviousSecret, IsReplacedByANewSecretForTheSameApp) {
  EXPECT_EQ(rotation_step("old", "new", true, true), RotationStep::kReplace);
  EXPECT_EQ(rotation_step("same", "same", true, true), RotationStep::kLeave);
  EXPECT_EQ(rotation_step("old", "new", false, true), RotationStep::kRemove) << "another app";
  EXPECT_EQ(rotation_step("same", "same", false, true), RotationStep::kRemove) << "another app";
  EXPECT_EQ(rotation_step("", "new", true, true), RotationStep::kRemove) << "there was none";
  EXPECT_EQ(rotation_step("old", "new", true, false), RotationStep::kRemove);
  EXPECT_EQ(rotation_step("same", "same", true, false), RotationStep::kRemove);
}

TEST(PreviousSecret, TheHintSaysUntilWhen) {
  EXPECT_NE(previous_secret_hint(kNoon).find("until 2026-11-29 12:00:00 UTC"), std::string::npos);
}

}  // namespace
}  // namespace wee5::core
