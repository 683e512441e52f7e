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

TEST(Redact, RedactsTheSecretPlainAndPercentEncoded) {
  EXPECT_EQ(redact("a s3cr=t b s3cr=t", "s3cr=t"), "a [secret] b [secret]");
  EXPECT_EQ(redact("?t=s3cr%3Dt&u=s3cr%3dt", "s3cr=t"), "?t=[secret]&u=[secret]");
  EXPECT_EQ(redact("%73%33%63%72%3D%74", "s3cr=t"), "[secret]");
  EXPECT_EQ(redact("a+b a%20b a b", "a b"), "[secret] [secret] [secret]");
  EXPECT_EQ(redact("ssecret", "secret"), "s[secret]");
  EXPECT_EQ(redact("secretsecret", "secret"), "[secret][secret]");
  EXPECT_EQ(redact("secre", "secret"), "secre");
  EXPECT_EQ(redact("100% of it %", "secret"), "100% of it %");
}

TEST(Redact, RedactsTheSecretEscapedAsInJson) {
  EXPECT_EQ(redact(R"({"t":"a\/b\"c"})", R"(a/b"c)"), R"({"t":"[secret]"})");
  EXPECT_EQ(redact(R"(a\u002Bb)", "a+b"), "[secret]");
}

TEST(Redact, RedactsAnEscapeThatBeginsLikeItself) {
  EXPECT_EQ(redact("a%25b, a%b", "a%b"), "[secret], [secret]");
  EXPECT_EQ(redact("100%25 100%", "100%"), "[secret] [secret]");
  EXPECT_EQ(redact(R"("a\\b" a\b)", R"(a\b)"), R"("[secret]" [secret])");
  EXPECT_EQ(redact(R"(\u0075ser \\u0075 user)", "user"), R"([secret] \\u0075 [secret])");
  EXPECT_EQ(redact("a%25b", "a%25b"), "[secret]");
}

TEST(Redact, RedactsTheSecretInBase64) {
  EXPECT_EQ(redact("dG9wLXNlY3JldA==", "top-secret"), "[secret]");
  EXPECT_EQ(redact("dG9wLXNlY3JldA", "top-secret"), "[secret]");
  EXPECT_EQ(redact("Basic dG9wLXNlY3JldA%3D%3D.", "top-secret"), "Basic [secret].");
  EXPECT_EQ(redact("dG9wLXNlY3JldDE=", "top-secret1"), "[secret]");
  EXPECT_EQ(redact("dG9wLXNlY3JldDEy", "top-secret12"), "[secret]");
  EXPECT_EQ(redact("Pj4-Pz8_", ">>>???"), "[secret]");
  EXPECT_EQ(redact("Pj4+Pz8/", ">>>???"), "[secret]");
}

// "user:top-secret" and the like: whatever stands around it, the middle goes.
TEST(Redact, RedactsTheSecretInsideALongerBase64) {
  EXPECT_EQ(redact("dTp0b3Atc2VjcmV0IQ==", "top-secret").find("b3Atc2VjcmV0"), std::string::npos);  // "u:top-secret!"
  EXPECT_EQ(redact("dXM6dG9wLXNlY3JldCE=", "top-secret").find("dG9wLXNlY3Jl"), std::string::npos);  // "us:..."
  EXPECT_EQ(redact("dXNlOnRvcC1zZWNyZXQh", "top-secret").find("RvcC1zZWNyZX"), std::string::npos);  // "use:..."
}

TEST(Redact, TheReplacementNeverSpellsTheSecretAgain) {
  // With "[secret]" the first would be "r3t[secret]", which begins with the secret.
  EXPECT_EQ(redact("r3tr3t[sec", "r3t[sec"), "r3t\xEF\xBF\xBD");
  EXPECT_EQ(redact("t]abt]abab", "t]ab"),
            "\xEF\xBF\xBD\xEF\xBF\xBD"
            "ab");
}

TEST(Redact, LeavesTextWithoutTheSecretUnchanged) {
  EXPECT_EQ(redact("anything", ""), "anything");
  EXPECT_EQ(redact("", "secret"), "");
  EXPECT_EQ(redact("the cat sat", "ab"), "the cat sat");
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

TEST(RedactAll, RedactsEachSecretTheLongestFirst) {
  EXPECT_EQ(redact_all("alpha, alpha-beta and gamma", {"alpha", "", "alpha-beta", "gamma"}),
            "[secret], [secret] and [secret]");
  EXPECT_EQ(redact_all("nothing", {}), "nothing");
  EXPECT_EQ(longest_spelling({"ab", "abcd", ""}), 4 * kLongestSpelling);
}

}  // namespace
}  // namespace wee5::core
