#include "wee5_cron/core/text/text.hpp"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

namespace wee5::core {
namespace {

using namespace std::string_view_literals;

constexpr std::string_view kBad = "\xEF\xBF\xBD";

std::string bad(int count) {
  std::string out;
  for (int i = 0; i < count; ++i) out += kBad;
  return out;
}

TEST(ValidUtf8, KeepsValidBytes) {
  for (const std::string_view text :
       {""sv, "plain\r\n\t\x7f"sv, "\xC2\x80\xDF\xBF"sv, "\xE0\xA0\x80\xEF\xBF\xBF"sv, "\xED\x9F\xBF\xEE\x80\x80"sv,
        "\xF0\x90\x80\x80\xF4\x8F\xBF\xBF"sv, "gr\xC3\xBC\xC3\x9F\x65 \xF0\x9F\x98\x80"sv}) {
    EXPECT_EQ(valid_utf8(text), text);
    EXPECT_EQ(valid_utf8(text, true), text);
  }
}

struct Row {
  std::string_view bytes;
  int replaced;  // how many U+FFFD come of them
};

// Each correct beginning is replaced as one, each other byte by itself: Unicode 15, table 3-8.
TEST(ValidUtf8, ReplacesInvalidBytes) {
  for (const Row& row :
       {Row{"\0"sv, 1}, Row{"\x80"sv, 1}, Row{"\xBF\xBF"sv, 2}, Row{"\xC0\x80"sv, 2}, Row{"\xC1\xBF"sv, 2},
        Row{"\xE0\x9F\xBF"sv, 3}, Row{"\xE0\x80\x80"sv, 3}, Row{"\xED\xA0\x80"sv, 3}, Row{"\xED\xBF\xBF"sv, 3},
        Row{"\xF0\x8F\xBF\xBF"sv, 4}, Row{"\xF4\x90\x80\x80"sv, 4}, Row{"\xF5\x80\x80\x80"sv, 4}, Row{"\xFE\xFF"sv, 2},
        Row{"\xC3"sv, 1}, Row{"\xE2\x82"sv, 1}, Row{"\xF0\x9F\x98"sv, 1}, Row{"\xF8\x88\x80\x80\x80"sv, 5},
        Row{"\xE2\x82\xE2\x82"sv, 2}}) {
    EXPECT_EQ(valid_utf8(row.bytes), bad(row.replaced)) << testing::PrintToString(row.bytes);
    EXPECT_EQ(valid_utf8(std::string(row.bytes) + "z"), bad(row.replaced) + "z");
  }
  EXPECT_EQ(valid_utf8("a\0b"sv), "a" + bad(1) + "b");
  EXPECT_EQ(valid_utf8("\xC3(\xE2\x82z"), bad(1) + "(" + bad(1) + "z");
}

TEST(ValidUtf8, DropsAnIncompleteCharacterAtTheCut) {
  EXPECT_EQ(valid_utf8("a\xC3", true), "a");
  EXPECT_EQ(valid_utf8("a\xE2\x82", true), "a");
  EXPECT_EQ(valid_utf8("a\xF0\x9F\x98", true), "a");
  EXPECT_EQ(valid_utf8("a\xFF", true), "a" + bad(1));
  EXPECT_EQ(valid_utf8("a\xE2\x82z", true), "a" + bad(1) + "z");
  EXPECT_EQ(valid_utf8("a\xED\xA0", true), "a" + bad(2));  // never the beginning of anything
}

TEST(Shorten, CutsBetweenCharacters) {
  EXPECT_EQ(shorten("abcdef", 6), "abcdef");
  EXPECT_EQ(shorten("abcdefg", 6), "abc...");
  EXPECT_EQ(shorten("\xC3\xBC\xC3\xBC\xC3\xBC\xC3\xBC", 6), "\xC3\xBC...");
  EXPECT_EQ(shorten("\xF0\x9F\x98\x80\xF0\x9F\x98\x80", 6), "...");
  EXPECT_EQ(shorten("abcdef", 3), "...");
  EXPECT_EQ(shorten("abcdef", 2), "..");
  EXPECT_EQ(shorten("abcdef", 0), "");
  EXPECT_EQ(shorten("", 0), "");
}

TEST(Printable, ShowsOneLineWithoutControlCharacters) {
  EXPECT_EQ(printable("gr\xC3\xBC\xC3\x9F\x65"), "gr\xC3\xBC\xC3\x9F\x65");
  EXPECT_EQ(printable("a\r\n\0\x7f\xFF"sv), "a\\x0D\\x0A\\x00\\x7F\\xFF");
  EXPECT_EQ(printable("a\xC2\x85\xE2\x80\xAE\xE2\x80\x8B"), "a\\u0085\\u202E\\u200B");
  EXPECT_EQ(printable(std::string(500, 'a')), std::string(97, 'a') + "...");
  EXPECT_LE(printable(std::string(500, '\n'), 50).size(), 50U);
}

TEST(SqlLiteral, MeansTheSameUnderEverySetting) {
  EXPECT_EQ(sql_literal("a"), "'a'");
  EXPECT_EQ(sql_literal("it's"), "'it''s'");
  EXPECT_EQ(sql_literal("'; DROP TABLE x; --"), "'''; DROP TABLE x; --'");
  EXPECT_EQ(sql_literal("a\\'b"), "E'a\\\\''b'");
}

}  // namespace
}  // namespace wee5::core
